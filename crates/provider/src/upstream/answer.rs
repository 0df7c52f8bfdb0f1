//! The words of one answer, as its body comes.

use std::mem;
use std::time::Duration;

use bytes::Bytes;
use engine::provider::event::{Word, Words};
use engine::provider::failure::Failure;
use futures_util::stream::{StreamExt, unfold};
use reqwest::Response;

use super::Ticket;
use crate::http::encoding::{self, Decoder, EncodingError};
use crate::wire::fault::Callee;
use crate::wire::reader::Reader;

/// The body's end comes right behind the last event. Who reads it can use the connection again and saves a handshake; the
/// answer's end waits for it, so it must not be long.
pub(super) const LAST_CHUNK_TIMEOUT: Duration = Duration::from_millis(100);

/// The words of an answer. All that one read gave is yielded before the next read; dropping it closes the connection.
pub(super) fn words(response: Response, reader: Box<dyn Reader>, callee: Callee, ticket: Ticket) -> Words {
    let decoder = Decoder::new(response.headers());
    let answer = Answer {
        response: Some(response),
        reader,
        callee,
        decoder,
        compressed: Bytes::new(),
        error: None,
        is_cut: false,
        is_finished: false,
        ticket,
    };
    unfold(answer, |mut answer| async move { answer.next().await.map(|word| (word, answer)) }).boxed()
}

struct Answer {
    /// `None` when nothing more is read; that closes the connection, or gives it back if the body has ended. Before the
    /// ticket: who gets its place finds the connection free.
    response: Option<Response>,
    reader: Box<dyn Reader>,
    callee: Callee,
    /// What makes the body's bytes of those that came; or why nothing can.
    decoder: Result<Decoder, EncodingError>,
    /// What came and is not decompressed yet.
    compressed: Bytes,
    /// The body cannot be read, which is still to be said.
    error: Option<Failure>,
    /// The body broke off, which is still to be said.
    is_cut: bool,
    /// The model has said why it stopped: what breaks now takes nothing of the answer with it.
    is_finished: bool,
    ticket: Ticket,
}

impl Answer {
    async fn next(&mut self) -> Option<Result<Word, Failure>> {
        loop {
            if let Some(word) = self.reader.next_word() {
                self.heard(&word);
                return Some(word);
            }
            if let Some(error) = self.error.take() {
                let error = Err(error);
                self.heard(&error);
                return Some(error);
            }
            if mem::take(&mut self.is_cut) {
                let cut = Err(self.callee.cut());
                self.heard(&cut);
                return Some(cut);
            }
            let Some(mut response) = self.response.take() else {
                self.over();
                return None;
            };
            if self.reader.is_over() {
                self.over();
                if let Ok(Ok(None)) = tokio::time::timeout(LAST_CHUNK_TIMEOUT, response.chunk()).await {
                    self.ticket.lease.ended();
                }
                return None;
            }
            self.read(response).await;
        }
    }

    fn heard(&mut self, word: &Result<Word, Failure>) {
        match word {
            Ok(Word::Finish(_)) => {
                self.is_finished = true;
                self.ticket.finished();
            }
            Ok(_) => {}
            Err(failure) => {
                self.response = None;
                self.is_cut = false;
                if !mem::replace(&mut self.is_finished, true) {
                    self.ticket.failed(failure);
                }
            }
        }
    }

    /// Nothing more comes. Without a reason why the model stopped that is no answer, which only its reader tells the caller.
    fn over(&mut self) {
        if !std::mem::replace(&mut self.is_finished, true) {
            self.ticket.failed(&self.callee.cut());
        }
    }

    /// Gives the reader more of the body.
    fn push(&mut self, bytes: &[u8]) {
        let decoded = match &mut self.decoder {
            Ok(Decoder::Identity) => return self.reader.push(bytes),
            Ok(decoder) => decoder.decode(bytes),
            Err(error) => Err(error.clone()),
        };
        match decoded {
            Ok(decoded) => self.reader.push(&decoded),
            Err(error) => self.error = Some(self.callee.plain("upstream_invalid_data", &error.to_string())),
        }
    }

    /// Reads once. At the end of the body the connection is given back.
    async fn read(&mut self, mut response: Response) {
        if !self.compressed.is_empty() {
            self.response = Some(response);
            let is_plain = self.decoder.as_ref().is_ok_and(|decoder| !decoder.may_expand());
            let length = if is_plain { self.compressed.len() } else { self.compressed.len().min(encoding::SLICE) };
            let slice = self.compressed.split_to(length);
            return self.push(&slice);
        }
        match response.chunk().await {
            Ok(Some(bytes)) => {
                self.response = Some(response);
                match &self.decoder {
                    // The next turn of the loop takes a slice of it: what becomes of one is read before the next.
                    Ok(decoder) if decoder.may_expand() => self.compressed = bytes,
                    Ok(_) | Err(_) => self.push(&bytes),
                }
            }
            Ok(None) => {
                self.ticket.lease.ended();
                self.reader.finish();
            }
            Err(_) => {
                self.reader.finish();
                self.is_cut = true;
            }
        }
    }
}
