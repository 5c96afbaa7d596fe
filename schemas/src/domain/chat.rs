//! What people, and assistants, say to each other.

use super::Domain;

pub(super) fn domain() -> Domain {
    Domain::new("chat")
        .code("message_id", "msg id, messageid, message uuid, utterance id, turn id, client msg id")
        .code("user_id", "sender id, from id, author id, member id, userid, speaker id, from user id, sender user id, \
            uid, customer id, message from id")
        .code("session_id", "conversation id, thread id, chat id, dialogue id, dialog id, convo id, conversation, \
            thread, thread ts, ticket id, message chat id")
        .code("channel", "room, channel id, channel name, room id, chat room, group id, guild id, chat title")
        .text("author", "sender, speaker, from, user name, username, screen name, nickname, nick, author name, sender name, from name, role, from user, speaker role")
        .text("text", "message, body, utterance, content, message text, msg, query, question, prompt, transcript, turn \
            text, reply, message body, message content, comment, user input, chat message, utterance text")
        .text("language", "lang, locale, language code")
        .texts_in(&["text"], Some("text"))
        .names(&[
            "message text, sender, recipient, channel, room, conversation id, thread, reply to, mentions, reactions, \
                emoji",
            "utterance, speaker, turn, turn count, dialogue, intent, bot response, agent, customer, transcript",
            "chat id, chat message, from user, to user, sent at, delivered, read receipt, edited at, attachments, sticker",
            "prompt, completion, assistant, role, user message, system message, conversation history, feedback rating, \
                model response",
            "conversation part, part type, conversation id, author type, message body, inbound, outbound, assigned \
                agent, sender name",
            "question, answer, support ticket message, customer question, helpdesk reply, live chat, query text",
            "text, user, channel, team, bot id, slack channel, discord guild, thread timestamp, whatsapp, sms, direct \
                message",
        ])
        .says(&[
            "can you help me with my account please", "how do I change my pin", "what is the weather like tomorrow",
            "i want to book a table for two people at seven tonight", "thanks, that would be great", "yes please, go \
                ahead",
            "hello, how can i help you today", "why was my card declined", "tell me how much money i have in my \
                savings",
            "i need to cancel my order and get a refund", "set a reminder for me to call mom at noon", "no, that's \
                all, goodbye",
            "play the next song", "where is my package", "what time does it open", "do you have any vegetarian options",
            "a table for 4 at 8pm on friday under my name", "how long will the transfer take to arrive in my account",
        ])
}
