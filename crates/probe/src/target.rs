//! What an address is: a Weir, a server of a known API, or any other stream.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use client::Request;
use serde_json::Value;

use crate::clock::ServerClock;
use crate::decode::BodyFormat;
use crate::dialect::{Credentials, Dialect};
use crate::place::Place;
use crate::reader::StreamReader;

/// What the user asks for.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// The credentials and header fields of every request.
    pub credentials: Credentials,
    /// The model; the first that the server lists if absent.
    pub model: Option<String>,
    /// The body of the request, or the first message of a WebSocket, in place of the probe's own.
    pub body: Option<String>,
}

/// An endpoint whose API is known.
#[derive(Clone)]
pub struct Target {
    /// The endpoint that streams.
    pub place: Place,
    /// Its API.
    pub dialect: Dialect,
    /// The model that is asked.
    pub model: Option<String>,
    /// The Weir that it belongs to.
    pub weir: Option<WeirServer>,
}

/// A Weir.
#[derive(Clone, Debug)]
pub struct WeirServer {
    /// The prefix of its paths, without `/v1`.
    pub prefix: String,
    /// Its clock; `None` if it has no calibrated source, or refuses it.
    pub clock: Option<ServerClock>,
}

impl Target {
    /// The same endpoint, with another wait for the next part of a response.
    pub(crate) fn patient(&self, timeout: Duration) -> Self {
        Self { place: self.place.patient(timeout), ..self.clone() }
    }

    /// The request for the stream.
    pub fn request(&self, ask: &Ask, accept_encoding: &str) -> Request {
        let body = match (&ask.body, &self.model) {
            (Some(data), _) => Some(data.clone()),
            (None, model) => {
                self.dialect.body(model.as_deref().unwrap_or_default()).map(|body| body.to_string())
            }
        };
        let accept = match self.dialect {
            Dialect::OllamaChat | Dialect::OllamaGenerate => "application/x-ndjson",
            Dialect::Plain => "text/event-stream, application/x-ndjson;q=0.9, */*;q=0.5",
            Dialect::Chat
            | Dialect::Responses
            | Dialect::Messages
            | Dialect::Gemini
            | Dialect::Source => "text/event-stream",
        };
        let method = if body.is_some() { "POST" } else { "GET" };
        let mut fields = vec![("accept", accept), ("accept-encoding", accept_encoding)];
        if body.is_some() {
            fields.push(("content-type", "application/json"));
        }
        let request = ask.credentials.request(self.dialect, method, &self.place.target(), &fields);
        match body {
            Some(body) => request.body(body),
            None => request,
        }
    }
}

/// Finds out what an address is.
///
/// # Errors
/// It cannot be reached, refuses the key, or is nothing that streams.
pub async fn recognise(place: &Place, ask: &Ask) -> Result<Target> {
    if let Some(dialect) = Dialect::of_path(&place.path) {
        return endpoint(place, ask, dialect).await;
    }
    base(place, ask).await
}

async fn endpoint(place: &Place, ask: &Ask, dialect: Dialect) -> Result<Target> {
    let weir = match place.path.rsplit_once("/v1/") {
        Some((prefix, _)) if dialect != Dialect::Messages => weir_at(place, ask, prefix).await,
        Some(_) | None => None,
    };
    let mut model = ask.model.clone();
    if dialect.needs_model() && model.is_none() && ask.body.is_none() {
        let models = match place.path.rsplit_once("/v1/") {
            Some((prefix, _)) => {
                models_at(place, ask, dialect, &format!("{prefix}/v1/models")).await?
            }
            None => models_at(place, ask, dialect, "/api/tags").await?,
        };
        model = Some(preferred(models).with_context(|| {
            format!("{} lists no models; name one with --model", place.shown())
        })?);
    }
    Ok(Target { place: place.clone(), dialect, model, weir })
}

async fn base(place: &Place, ask: &Ask) -> Result<Target> {
    let path = place.path.trim_end_matches('/');
    let prefix = path.strip_suffix("/v1").unwrap_or(path);
    let weir = weir_at(place, ask, prefix).await;
    let models = models_at(place, ask, Dialect::Chat, &format!("{prefix}/v1/models")).await;
    let named = |found: Result<Vec<String>>| -> Result<Option<String>> {
        match (&ask.model, found) {
            (Some(model), _) => Ok(Some(model.clone())),
            (None, found) => found.map(preferred),
        }
    };
    if weir.is_some() {
        let model = named(models)?;
        return Ok(Target {
            place: place.with_path(&format!("{prefix}/v1/responses")),
            dialect: Dialect::Responses,
            model,
            weir,
        });
    }
    match models {
        Ok(models) => Ok(Target {
            place: place.with_path(&format!("{prefix}/v1/chat/completions")),
            dialect: Dialect::Chat,
            model: named(Ok(models))?,
            weir: None,
        }),
        Err(unlisted) => {
            if let Ok(models) =
                models_at(place, ask, Dialect::OllamaChat, &format!("{prefix}/api/tags")).await
            {
                return Ok(Target {
                    place: place.with_path(&format!("{prefix}/api/chat")),
                    dialect: Dialect::OllamaChat,
                    model: named(Ok(models))?,
                    weir: None,
                });
            }
            if is_stream(place, ask).await? {
                let (place, dialect) = (place.clone(), Dialect::Plain);
                return Ok(Target { place, dialect, model: None, weir: None });
            }
            Err(unlisted.context(format!(
                "{} is neither a Weir, nor a server with /v1/models, nor a stream; give the whole address of the endpoint, such as …/v1/chat/completions",
                place.shown()
            )))
        }
    }
}

/// The Weir below a prefix, if there is one.
async fn weir_at(place: &Place, ask: &Ask, prefix: &str) -> Option<WeirServer> {
    let document = document(place, ask, Dialect::Plain, &format!("{prefix}/v1")).await.ok()?;
    if document["name"] != "Weir" {
        return None;
    }
    let clock = ServerClock::compare(place, &ask.credentials, prefix).await.ok();
    Some(WeirServer { prefix: prefix.to_owned(), clock })
}

/// The models that a server lists.
async fn models_at(place: &Place, ask: &Ask, dialect: Dialect, path: &str) -> Result<Vec<String>> {
    let document = document(place, ask, dialect, path).await?;
    let list = document["data"].as_array().or_else(|| document["models"].as_array());
    let list = list.with_context(|| format!("{path} lists no models"))?;
    let name =
        |model: &Value| model["id"].as_str().or_else(|| model["name"].as_str()).map(str::to_owned);
    Ok(list.iter().filter_map(name).collect())
}

/// The model that costs nothing, or the first.
fn preferred(models: Vec<String>) -> Option<String> {
    if models.iter().any(|model| model == "demo") {
        return Some("demo".to_owned());
    }
    models.into_iter().next()
}

/// A JSON document of the server.
///
/// # Errors
/// Another status than 200, or no JSON.
pub(crate) async fn document(
    place: &Place,
    ask: &Ask,
    dialect: Dialect,
    path: &str,
) -> Result<Value> {
    let fields = [("accept", "application/json")];
    let request = ask.credentials.request(dialect, "GET", path, &fields);
    let mut response = StreamReader::open(&place.with_path(path), &request).await?;
    let text = response.text().await?;
    match response.status {
        200 => serde_json::from_str(&text).with_context(|| format!("GET {path} is not JSON")),
        401 | 403 => bail!(
            "GET {path} was refused with {}{}: name the variable that holds the key with --key-env",
            response.status,
            error_message(&text)
        ),
        status => bail!("GET {path} has the status {status}{}", error_message(&text)),
    }
}

/// Whether a GET of the address itself is a stream.
async fn is_stream(place: &Place, ask: &Ask) -> Result<bool> {
    let fields = [("accept", "text/event-stream, */*;q=0.5")];
    let request = ask.credentials.request(Dialect::Plain, "GET", &place.target(), &fields);
    let response = StreamReader::open(place, &request).await?;
    Ok(response.status == 200 && BodyFormat::of(response.media_type()).is_some())
}

/// The message of an error body, with a colon before it; empty if there is none.
pub(crate) fn error_message(body: &str) -> String {
    let document: Value = serde_json::from_str(body).unwrap_or_default();
    let message = document["error"]["message"].as_str().or_else(|| document["error"].as_str());
    let first_line = body.trim().lines().next().unwrap_or_default();
    let text = message.unwrap_or(if first_line.starts_with('<') { "" } else { first_line });
    let text: String = text.trim_end_matches('.').chars().take(200).collect();
    if text.is_empty() { text } else { format!(": {text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_quoted_in_short() {
        assert_eq!(error_message(r#"{"error":{"message":"no"}}"#), ": no");
        assert_eq!(error_message(r#"{"error":"no"}"#), ": no");
        assert_eq!(error_message("<html>"), "");
        assert_eq!(error_message(""), "");
        assert_eq!(error_message(&"x".repeat(500)).len(), 202);
    }

    #[test]
    fn a_model_that_costs_nothing_is_preferred() {
        let models = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(preferred(models(&["a", "demo"])).as_deref(), Some("demo"));
        assert_eq!(preferred(models(&["a", "b"])).as_deref(), Some("a"));
        assert_eq!(preferred(Vec::new()), None);
    }
}
