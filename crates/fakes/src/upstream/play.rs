//! Plays a script in the format of a vendor.

use std::io;
use std::time::Duration;

use serde_json::Value;

use super::encode::encoder::ResponseEncoder;
use super::played::PlayedResponse;
use super::response_writer::{After, ResponseWriter};
use super::script::{Script, Step};
use super::vendor::Vendor;
use super::vendor_error;

/// Short, so that only a limit on the whole head applies, and none on the time between bytes.
const ENDLESS_HEADER_PAUSE: Duration = Duration::from_millis(50);

/// How a response is sent.
pub(super) struct PlayOptions {
    pub(super) vendor: Vendor,
    pub(super) encoder: Box<dyn ResponseEncoder>,
    pub(super) is_stream: bool,
}

pub(super) async fn play(
    writer: &mut ResponseWriter<'_>,
    script: Script,
    options: PlayOptions,
) -> io::Result<After> {
    let PlayOptions { vendor, mut encoder, is_stream } = options;
    let mut response =
        PlayedResponse { usage: script.reported_usage(), ..PlayedResponse::default() };
    let mut body = BodyWriter {
        writer,
        content_type: encoder.content_type(),
        is_stream,
        has_head: false,
        splits: false,
    };
    for step in script.steps {
        match step {
            Step::Status(status, headers, content) => {
                body.writer.complete(status, &headers, &content).await?;
                return Ok(After::KeepAlive);
            }
            Step::Refuse(status, error, wait) => {
                let status = status.unwrap_or(error.status(vendor));
                let content = vendor_error::body(vendor, error, status, wait, None).to_string();
                body.writer
                    .complete(
                        status,
                        &vendor_error::fields(vendor, error, wait),
                        content.as_bytes(),
                    )
                    .await?;
                return Ok(After::KeepAlive);
            }
            Step::Head => body.head().await?,
            Step::Emit(event) => {
                response.apply(&event);
                if is_stream {
                    for piece in encoder.encode(&response, &event) {
                        body.write(&piece).await?;
                    }
                }
            }
            Step::Event(data) => body.write(&encoder.frame(&data)).await?,
            Step::Raw(bytes) => body.write(&bytes).await?,
            Step::Partial(bytes) => body.partial(&bytes).await?,
            Step::Mark(marks) => marks.record(),
            Step::Sleep(duration) => tokio::time::sleep(duration).await,
            Step::WaitFor(gate) => gate.notified().await,
            Step::Stall => std::future::pending().await,
            Step::Fin => return body.writer.fin().await,
            Step::Rst => return body.writer.rst().await,
            Step::End => break,
            Step::EndlessHeaders => endless_headers(body.writer).await?,
            Step::SplitEveryByte(splits) => body.splits = splits,
        }
    }
    if is_stream {
        body.end().await?;
    } else {
        document(body.writer, vendor, encoder.as_ref(), &response).await?;
    }
    Ok(After::KeepAlive)
}

/// The response without streaming: the document, or the error that a stream would contain.
async fn document(
    writer: &mut ResponseWriter<'_>,
    vendor: Vendor,
    encoder: &dyn ResponseEncoder,
    response: &PlayedResponse,
) -> io::Result<()> {
    if let Some(error) = response.failure {
        let status = error.status(vendor);
        let content = vendor_error::body(vendor, error, status, None, None);
        return writer
            .complete(
                status,
                &vendor_error::fields(vendor, error, None),
                content.to_string().as_bytes(),
            )
            .await;
    }
    reply(writer, 200, &encoder.document(response)).await
}

/// Responds with a JSON document.
pub(super) async fn reply(
    writer: &mut ResponseWriter<'_>,
    status: u16,
    body: &Value,
) -> io::Result<()> {
    let headers = [("content-type".to_owned(), "application/json".to_owned())];
    writer.complete(status, &headers, body.to_string().as_bytes()).await
}

async fn endless_headers(writer: &mut ResponseWriter<'_>) -> io::Result<()> {
    writer.raw_head(b"HTTP/1.1 200 OK\r\n").await?;
    for number in 0_u64.. {
        writer.raw_head(format!("x-filler-{number}: on and on\r\n").as_bytes()).await?;
        tokio::time::sleep(ENDLESS_HEADER_PAUSE).await;
    }
    Ok(())
}

/// The body of a streamed response. Without streaming, nothing is written before the end.
struct BodyWriter<'a, 'b> {
    writer: &'a mut ResponseWriter<'b>,
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
        self.writer.head(self.content_type).await
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.is_stream {
            return Ok(());
        }
        self.head().await?;
        let size = if self.splits { 1 } else { bytes.len().max(1) };
        for piece in bytes.chunks(size) {
            self.writer.part(piece).await?;
        }
        Ok(())
    }

    /// A part of a document, which is sent unchanged with or without streaming.
    async fn partial(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.has_head {
            self.has_head = true;
            self.writer.head("application/json").await?;
        }
        self.writer.part(bytes).await
    }

    async fn end(&mut self) -> io::Result<()> {
        self.head().await?;
        self.writer.end().await
    }
}
