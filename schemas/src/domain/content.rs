//! What is written to be read: documents, pages, articles, descriptions, media.

use super::Domain;

pub(super) fn domain() -> Domain {
    Domain::new("content")
        .code(
            "content_id",
            "document id, doc id, article id, page id, post id, asset id, content uuid, product \
            description id, media id",
        )
        .text("title", "headline, subject, heading, document title, page title, article title, post title, caption")
        .text(
            "body",
            "content, text, markdown, html, description, article body, body text, page content, document, \
            summary, abstract, raw text, resume, body html, full text, product description",
        )
        .text("author", "creator, written by, byline, author name, editor, publisher")
        .text("content_type", "mime type, media type, format, document type, kind of content, file type")
        .text("language", "lang, locale, language code, culture, culture name, in language, culture id")
        .text("url", "link, permalink, canonical url, slug, path, file path, uri, href, source url")
        .json("tags", "keywords, categories, topics, labels, hashtags")
        .time(
            "published_at",
            "published, publish date, published date, date published, publication date, pub date, \
            posted at",
        )
        .texts_in(&["title", "body"], Some("body"))
        .names(&[
            "title, body, author, published at, slug, excerpt, tags, category, featured image, permalink, word count, \
                reading time",
            "article, headline, paragraph, section, chapter, page, markdown, html, summary, abstract, full text, \
                keywords, citation, doi, isbn",
            "document id, document text, file name, file path, mime type, file size, page count, revision, attachment, \
                thumbnail",
            "blog post, news story, comment count, subtitle, byline, publisher, editor, language, copyright, license",
            "product description, description, culture name, translation, localized text, english description, french \
                description, spanish description, locale",
            "page id, revision id, parent id, wikitext, content model, page language, namespace, redirect, edit \
                summary",
            "video, image, audio, caption, alt text, transcript, duration, resolution, media url, album, artist, \
                playlist, podcast episode",
            "book, edition, pages, genre, lyrics, song, singer, track, movie, film, director, cast, release date, \
                running time, episode",
            "document type code, document name, document description, document date, template type, paragraph text, \
                paper, journal, conference",
            "resume, cover letter, template, manual, faq, knowledge base article, wiki page, guide, recipe, \
                ingredients, instructions, review text",
        ])
        .says(&[
            "this guide explains how to install and configure the software step by step",
            "the river flows through the northern part of the province and joins the sea near the town",
            "he was born in 1890 and served as a member of parliament until his death",
            "a lightweight aluminium frame provides a responsive ride for serious riders",
            "the film was released in 1998 and received mixed reviews from critics",
            "the album was recorded in the studio and published by the label that year",
            "the species is found in the forests of the region and grows up to two metres",
            "in this chapter we describe the history of the city and its architecture",
            "# Introduction ## Overview of the documentation, see the following sections",
            "an article about science, published in a journal",
            "the theory was first proposed by the scientist in the \
                19th century",
        ])
}
