//! Plays one script, in the words of one vendor.

use std::io;
use std::time::Duration;

use serde_json::Value;

use super::answer::Answer;
use super::outlet::Outlet;
use super::trouble;
use super::vendor::Vendor;
use super::wire::Speech;
use super::{Script, Step};

/// Often enough that a limit on the time between bytes never strikes, so that only one on the whole head can.
const ENDLESS_HEADER_PAUSE: Duration = Duration::from_millis(50);

/// What becomes of the connection after a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// It may take the next request.
    KeepAlive,
    /// Our side is closed; the peer's is to follow.
    HalfClosed,
    /// It is to be dropped, which resets it.
    Reset,
}

/// How an answer is to be given.
pub(super) struct Manner {
    pub(super) vendor: Vendor,
    pub(super) speech: Box<dyn Speech>,
    pub(super) is_stream: bool,
}

pub(super) async fn play(outlet: &mut Outlet<'_>, script: Script, manner: Manner) -> io::Result<After> {
    let Manner { vendor, mut speech, is_stream } = manner;
    let mut answer = Answer { usage: script.cost(), ..Answer::default() };
    let mut body = BodyWriter { outlet, content_type: speech.content_type(), is_stream, has_head: false, splits: false };
    for step in script.steps {
        match step {
            Step::Status(status, headers, content) => {
                body.outlet.answer(status, &headers, &content).await?;
                return Ok(After::KeepAlive);
            }
            Step::Refuse(status, trouble, wait) => {
                let status = status.unwrap_or(trouble.status(vendor));
                let content = trouble::body(vendor, trouble, status, wait, None).to_string();
                body.outlet.answer(status, &trouble::fields(vendor, trouble, wait), content.as_bytes()).await?;
                return Ok(After::KeepAlive);
            }
            Step::Head => body.head().await?,
            Step::Say(said) => {
                answer.hear(&said);
                if is_stream {
                    for piece in speech.say(&answer, &said) {
                        body.write(&piece).await?;
                    }
                }
            }
            Step::Event(data) => body.write(&speech.frame(&data)).await?,
            Step::Raw(bytes) => body.write(&bytes).await?,
            Step::Partial(bytes) => body.partial(&bytes).await?,
            Step::Mark(marks) => marks.note(),
            Step::Sleep(duration) => tokio::time::sleep(duration).await,
            Step::WaitFor(gate) => gate.notified().await,
            Step::Stall => std::future::pending().await,
            Step::Fin => return body.outlet.fin().await,
            Step::Rst => return body.outlet.rst().await,
            Step::End => break,
            Step::EndlessHeaders => endless_headers(body.outlet).await?,
            Step::SplitEveryByte(splits) => body.splits = splits,
        }
    }
    if is_stream {
        body.end().await?;
    } else {
        document(body.outlet, vendor, speech.as_ref(), &answer).await?;
    }
    Ok(After::KeepAlive)
}

/// The answer to a request that asked for no stream: whole, or the error that would have been in it.
async fn document(outlet: &mut Outlet<'_>, vendor: Vendor, speech: &dyn Speech, answer: &Answer) -> io::Result<()> {
    if let Some(trouble) = answer.failure {
        let status = trouble.status(vendor);
        let content = trouble::body(vendor, trouble, status, None, None);
        return outlet.answer(status, &trouble::fields(vendor, trouble, None), content.to_string().as_bytes()).await;
    }
    reply(outlet, 200, &speech.document(answer)).await
}

/// Answers with a JSON document.
pub(super) async fn reply(outlet: &mut Outlet<'_>, status: u16, body: &Value) -> io::Result<()> {
    let headers = [("content-type".to_owned(), "application/json".to_owned())];
    outlet.answer(status, &headers, body.to_string().as_bytes()).await
}

async fn endless_headers(outlet: &mut Outlet<'_>) -> io::Result<()> {
    outlet.raw_head(b"HTTP/1.1 200 OK\r\n").await?;
    for number in 0_u64.. {
        outlet.raw_head(format!("x-filler-{number}: on and on\r\n").as_bytes()).await?;
        tokio::time::sleep(ENDLESS_HEADER_PAUSE).await;
    }
    Ok(())
}

/// The body of a stream. Where no stream was asked for, nothing goes out before the end.
struct BodyWriter<'a, 'b> {
    outlet: &'a mut Outlet<'b>,
    content_type: &'static str,
    is_stream: bool,
    has_head: bool,
    splits: bool,
}

impl BodyWriter<'_, '_> {
    async fn head(&mut self) -> io::Result<()> {
        if self.has_head || !self.is_stream {
            return Ok(());
        }
        self.has_head = true;
        self.outlet.head(self.content_type).await
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.is_stream {
            return Ok(());
        }
        self.head().await?;
        let size = if self.splits { 1 } else { bytes.len().max(1) };
        for piece in bytes.chunks(size) {
            self.outlet.piece(piece).await?;
        }
        Ok(())
    }

    /// A part of a document, which is sent as it is whatever was asked for.
    async fn partial(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.has_head {
            self.has_head = true;
            self.outlet.head("application/json").await?;
        }
        self.outlet.piece(bytes).await
    }

    async fn end(&mut self) -> io::Result<()> {
        self.head().await?;
        self.outlet.end().await
    }
}
