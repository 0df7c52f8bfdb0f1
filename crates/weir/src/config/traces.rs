//! The exporter of traces: the setting, and the variables that OpenTelemetry defines.

use engine::secret::Secret;
use traces::Config;

use super::environment::{self, Environment};
use super::problem::{Problem, ValueSource};
use super::value::{self, Raw};

/// The path of the setting.
pub(super) const ENDPOINT: &str = "traces.endpoint";

/// The path that is appended to an endpoint for all signals.
const PATH: &str = "/v1/traces";

/// The inputs and results of reading the settings of traces.
pub(super) struct TraceReader<'a> {
    pub(super) environment: &'a Environment,
    pub(super) problems: &'a mut Vec<Problem>,
    pub(super) notes: &'a mut Vec<String>,
}

impl TraceReader<'_> {
    /// The settings in force, and the OpenTelemetry variable that the endpoint is from, if any.
    /// `typed` is the setting and its source; Weir's own variable has precedence over
    /// OpenTelemetry's.
    pub(super) fn settle(
        &mut self,
        typed: Option<String>,
        source: &ValueSource,
    ) -> (Option<Config>, Option<&'static str>) {
        let is_ours =
            typed.is_some() && matches!(source, ValueSource::Variable(_) | ValueSource::Flag(_));
        let theirs = if is_ours { None } else { self.theirs() };
        let from = theirs.as_ref().map(|(_, name)| *name);
        let endpoint = theirs
            .map(|(endpoint, _)| endpoint)
            .or_else(|| typed.map(|base| format!("{base}{PATH}")));
        let is_off =
            self.text("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true"))
                || self.text("OTEL_TRACES_EXPORTER").is_some_and(|text| text == "none");
        let Some(endpoint) = endpoint.filter(|_| !is_off) else { return (None, from) };
        for name in ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"] {
            if let Some(protocol) = self.text(name).filter(|text| text != "http/json") {
                self.notes.push(format!("{name} is {protocol}, but traces are sent as http/json"));
            }
        }
        let service = self.text("OTEL_SERVICE_NAME").unwrap_or_else(|| Config::SERVICE.to_owned());
        (Some(Config { endpoint, headers: self.headers(), service }), from)
    }

    fn theirs(&mut self) -> Option<(String, &'static str)> {
        let mut address = |name: &'static str, path: &str| {
            let text = self.text(name)?;
            match value::endpoint(&Raw::Typed(text)) {
                Ok(address) => Some((format!("{}{path}", address?), name)),
                Err(message) => {
                    self.problems
                        .push(Problem::new(ValueSource::Variable(name.to_owned()), message));
                    None
                }
            }
        };
        address("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")
            .or_else(|| address("OTEL_EXPORTER_OTLP_ENDPOINT", PATH))
    }

    /// `name=value,…`, with values that may be percent-encoded (W3C Baggage).
    fn headers(&mut self) -> Vec<(String, Secret)> {
        let names = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
        let Some((name, text)) = names.into_iter().find_map(|name| Some((name, self.text(name)?)))
        else {
            return Vec::new();
        };
        let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
        let read = |pair: &str| {
            let (name, value) = pair.split_once('=')?;
            Some((name.trim().to_owned(), Secret::new(decoded(value.trim())?)))
        };
        pairs.map(read).collect::<Option<_>>().unwrap_or_else(|| {
            // The value is not repeated, since it may be a key.
            self.problems.push(Problem::new(
                ValueSource::Variable(name.to_owned()),
                "expected name=value pairs, separated by commas",
            ));
            Vec::new()
        })
    }

    fn text(&mut self, name: &str) -> Option<String> {
        match environment::text(self.environment, name) {
            Ok(text) => text.map(str::to_owned),
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => u8::try_from(
                char::from(rest.next()?).to_digit(16)? * 16
                    + char::from(rest.next()?).to_digit(16)?,
            )
            .ok()?,
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::super::problem::Problems;
    use super::super::tests::{environment, file, settings};
    use super::*;

    fn traces(variables: &[(&str, &str)], text: &str) -> Result<Option<Config>, Problems> {
        settings(&[], &environment(variables), Some(&file(text))).map(|settings| settings.traces)
    }

    fn endpoint(variables: &[(&str, &str)], text: &str) -> Option<String> {
        traces(variables, text).ok().flatten().map(|config| config.endpoint)
    }

    const FILE: &str = "[traces]\nendpoint = \"http://file:4318\"";

    #[test]
    fn addresses_and_their_order() {
        assert_eq!(endpoint(&[], ""), None);
        assert_eq!(endpoint(&[], FILE).as_deref(), Some("http://file:4318/v1/traces"));
        let theirs = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4318/");
        assert_eq!(endpoint(&[theirs], FILE).as_deref(), Some("http://all:4318/v1/traces"));
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:4318/as/it/is");
        assert_eq!(
            endpoint(&[theirs, traces], FILE).as_deref(),
            Some("http://traces:4318/as/it/is")
        );
        let ours = ("WEIR_TRACES_ENDPOINT", "http://ours:4318");
        assert_eq!(
            endpoint(&[theirs, traces, ours], FILE).as_deref(),
            Some("http://ours:4318/v1/traces")
        );
        assert_eq!(endpoint(&[ours, ("OTEL_SDK_DISABLED", "true")], FILE), None);
        assert_eq!(endpoint(&[ours, ("OTEL_TRACES_EXPORTER", "none")], FILE), None);
    }

    #[test]
    fn the_service_name_and_the_headers_come_from_the_environment() {
        let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=abc%3D, x=y");
        let config =
            traces(&[headers, ("OTEL_SERVICE_NAME", "chat")], FILE).ok().flatten().unwrap();
        assert_eq!(config.service, "chat");
        let headers: Vec<_> =
            config.headers.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect();
        assert_eq!(headers, [("api-key", "abc="), ("x", "y")]);
    }

    #[test]
    fn problems_have_a_location_and_no_secret() {
        let wrong = traces(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4317")], "")
            .err()
            .map(|problems| problems.to_string());
        let expected = "OTEL_EXPORTER_OTLP_ENDPOINT: expected the address of a collector such as http://localhost:4318";
        assert_eq!(wrong.as_deref(), Some(expected));
        let wrong = traces(&[("OTEL_EXPORTER_OTLP_HEADERS", "secret")], FILE)
            .err()
            .map(|problems| problems.to_string());
        assert_eq!(
            wrong.as_deref(),
            Some("OTEL_EXPORTER_OTLP_HEADERS: expected name=value pairs, separated by commas")
        );
    }
}
