//! Single requests (claims 11, 12, 13 and 15).

use super::names;
use crate::captured::ReadConnection;
use crate::claims::packets::Citing;

/// Whether connections are kept.
pub(crate) fn persistence(citing: &mut Citing<'_>) {
    let reads: Vec<_> =
        names::PERSISTENCE.iter().filter_map(|(name, ..)| citing.named(name)).collect();
    for read in &reads {
        for (segment, request) in read.requests() {
            let connection = request.fields.get("connection");
            let with = connection.map(|value| format!(", Connection: {value}")).unwrap_or_default();
            citing.cite(11, read, segment, format!("HTTP/1.{}{with}", request.minor_version));
        }
        for (segment, response) in read.responses() {
            citing.cite(11, read, segment, format!("{} on this connection", response.status));
        }
        citing.cite(11, read, read.first_fin(), "the first FIN");
    }
    citing.search(11, &reads, "http.request || http.response || tcp.flags.fin == 1");
}

/// `Host`.
pub(crate) fn host(citing: &mut Citing<'_>) {
    let reads: Vec<_> = names::HOST.iter().filter_map(|name| citing.named(name)).collect();
    for read in &reads {
        exchanges(citing, 15, read);
    }
    citing.search(15, &reads, "http.request || http.response");
}

/// Methods.
pub(crate) fn methods(citing: &mut Citing<'_>) {
    let reads: Vec<_> = citing.all().iter().collect();
    for read in &reads {
        exchanges(citing, 12, read);
    }
    citing.search(12, &reads, "http.request || http.response");
}

/// A page that is requested again.
pub(crate) fn validator(citing: &mut Citing<'_>) {
    let reads: Vec<_> = citing.all().iter().collect();
    for read in &reads {
        for (segment, request) in read.requests() {
            let again = request.fields.get("if-none-match").map(|_| " with If-None-Match");
            let line = format!("{} {}", request.method, request.target);
            citing.cite(13, read, segment, format!("{line}{}", again.unwrap_or_default()));
        }
        for (segment, response) in read.responses() {
            let tag = response.fields.get("etag").map(|_| " with an ETag").unwrap_or_default();
            citing.cite(13, read, segment, format!("{}{tag}", response.status));
        }
    }
    citing.search(13, &reads, "http.request || http.response.code == 304");
}

/// Every request and response of a connection.
fn exchanges(citing: &mut Citing<'_>, claim: u32, read: &ReadConnection<'_>) {
    for (segment, request) in read.requests() {
        let hosts = request.fields.iter().filter(|(name, _)| *name == "host").count();
        let line = format!("{} {}", request.method, request.target);
        let host = if claim == 15 { format!(", {hosts} Host fields") } else { String::new() };
        citing.cite(claim, read, segment, format!("{line} HTTP/1.{}{host}", request.minor_version));
    }
    for (segment, response) in read.responses() {
        let allow = response.fields.get("allow").filter(|_| claim == 12);
        let allow = allow.map(|methods| format!(", Allow: {methods}")).unwrap_or_default();
        citing.cite(claim, read, segment, format!("{}{allow}", response.status));
    }
}
