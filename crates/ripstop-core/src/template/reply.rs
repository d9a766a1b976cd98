//! Local replies in other words (`LocalReplyConfig`).
use super::{line, passes, render};
use crate::http::ResponseHead;
use crate::record::Record;
use crate::route::add_headers;
use crate::snapshot::{LocalReplies, ReplyBody, ReplyMapper};
use std::borrow::Cow;

/// Change a local reply by the first mapper that is for it; the content type of the body that comes out.
///
/// `head` has the reply's fields so far and `body` its text; both are changed, `head.status` too. `record` is of the
/// exchange; its status, response and local reply body are taken from `head` and `body`.
pub fn map_reply<'a>(
    replies: &'a LocalReplies,
    record: &Record<'_>,
    head: &mut ResponseHead,
    body: &mut Vec<u8>,
    random: u64,
) -> &'a str {
    let found = replies.mappers.iter().find(|mapper| {
        let seen = Record { status: head.status, response: Some(head), ..*record };
        passes(&mapper.filter, &seen, random)
    });
    if let Some(mapper) = found {
        change(mapper, record, head, body);
    }
    match found.and_then(|mapper| mapper.body_format.as_ref()).or(replies.body.as_ref()) {
        Some(format) => write_body(format, record, head, body),
        None => "text/plain",
    }
}

fn change(mapper: &ReplyMapper, record: &Record<'_>, head: &mut ResponseHead, body: &mut Vec<u8>) {
    let seen = Record { status: head.status, ..*record };
    if let Some(text) = &mapper.body {
        let mut new = Vec::new();
        render(text, &Record { response: Some(head), ..seen }, &mut new);
        *body = new;
    }
    add_headers(head, &mapper.headers, &seen, &mut Vec::new());
    if let Some(status) = mapper.status {
        head.status = status;
    }
}

fn write_body<'a>(
    format: &'a ReplyBody,
    record: &Record<'_>,
    head: &ResponseHead,
    body: &mut Vec<u8>,
) -> &'a str {
    let old = std::mem::take(body);
    let local_reply_body: Cow<'_, str> = String::from_utf8_lossy(&old);
    let seen =
        Record { status: head.status, response: Some(head), local_reply_body: &local_reply_body, ..*record };
    line(&format.format, &seen, body);
    &format.content_type
}
