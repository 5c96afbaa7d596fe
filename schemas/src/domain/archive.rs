//! What is kept for later: history, backups, catalogues of collections.

use super::Domain;

pub(super) fn domain() -> Domain {
    Domain::new("archive")
        .code(
            "archive_id",
            "accession number, backup id, snapshot id, catalogue number, catalog number, record \
            number, object number, archive number, inventory number, item id, identifier, business entity id, product \
            id, id",
        )
        .text("title", "object title, name, item title, work title, object name")
        .text("creator", "artist, artist name, author, maker, contributor, constituents, creators")
        .text("collection", "department, repository, classification, series title, fonds, bucket, vault")
        .text("description", "credit line, medium, summary, notes, scope and content, physical description")
        .time(
            "valid_from",
            "start date, effective from, from date, valid start, effective date, begin date, rate \
            change date, quota date",
        )
        .time("valid_to", "end date, effective to, to date, valid until, thru date, expiry date")
        .code("version", "revision, history version, version number, snapshot version, generation number")
        .measure("size_bytes", super::Unit::Bytes, "size, file size, backup size, object size, archive size")
        .code("checksum", "sha256, md5, digest, hash, etag, sha1, file hash")
        .texts_in(&["title", "creator", "description"], None)
        .names(&[
            "start date, end date, history, valid from, valid to, effective date, expired, superseded, previous value, \
                old value, version, modified date, is current",
            "standard cost, start date, end date, product cost history, list price history, price change, rate change \
                date, pay frequency, rate",
            "department history, shift, employment history, territory history, quota history, quota date, job history, \
                from date, to date",
            "accession number, accession year, credit line, medium, dimensions, artist, maker, classification, \
                inscription, copyright, date made, materials, technique, place of origin, contributors, subjects",
            "backup id, backup size, snapshot, restore point, retention, archived at, storage class, vault, tape, \
                checksum, backup type, incremental, full backup, compressed",
            "snapshot, tree, paths, files new, data added, total bytes processed, backup start, bucket, key, etag, is \
                latest, last modified, storage class, object lock",
            "collection, museum, gallery, object number, provenance, exhibition, catalogue, curator, donor, gift of, \
                culture, period, dynasty, repository, constituents, is public domain",
            "archived, deleted at, purge after, cold storage, legal hold, record series, fonds, box, folder, scope and \
                content, finding aid, digitised, preservation",
            "year, historical record, decade, era, legacy id, migrated from, old id, original date, record of, \
                register, census",
        ])
        .says(&[
            "history of earlier values with start and end date",
            "backup of the database finished, snapshot \
            stored",
            "oil paint on canvas, purchased 1924, presented by the trustees",
        ])
}
