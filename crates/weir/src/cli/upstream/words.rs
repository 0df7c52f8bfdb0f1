//! Explanations of upstream failures, and advice. Without keys and passwords.

use std::time::Duration;

use engine::provider::failure::{FailureScope, ProviderFailure};
use provider::config::{
    KeyConfig, Preset, ProxyConfig, UpstreamConfig, UpstreamConfigError, WireKind,
};
use provider::upstream::{CertificateError, ConnectError, Refusal, Trouble};

use super::label;

/// A failure, and advice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// A code for programs.
    pub(super) code: String,
    /// The failure, as a part of a sentence without its end.
    pub(super) what: String,
    /// The advice, one sentence or more.
    pub(super) advice: String,
}

impl Finding {
    fn new(code: &str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { code: code.to_owned(), what: what.into(), advice: advice.into() }
    }

    /// Settings that no upstream can be made from.
    pub(super) fn unusable(error: &UpstreamConfigError) -> Self {
        Self::new(
            "unusable_settings",
            error.to_string(),
            "Fix it in weir.toml; weir config shows where each setting comes from.",
        )
    }
}

/// Explains `trouble` with `key`, in a call of `model`, or of the list of models without one.
pub(super) fn finding(
    config: &UpstreamConfig,
    key: Option<&KeyConfig>,
    trouble: &Trouble,
    model: Option<&str>,
) -> Finding {
    let code = trouble.code();
    match trouble {
        Trouble::Connect(unreached) => self::unreached(config, *unreached, code),
        Trouble::Refused(refusal) => refused(config, key, refusal, model),
        Trouble::Unparsed { is_page: true } => Finding::new(
            "page",
            "it returned a web page instead of JSON",
            format!(
                "base_url ({}) leads to a website, or to a login page; {}",
                config.base_url,
                usual_address(config)
            ),
        ),
        Trouble::Unparsed { is_page: false } => Finding::new(
            code,
            "it did not return a list of models",
            format!(
                "Is base_url ({}) that of a model server, and does the server have the API that wire names? {}",
                config.base_url,
                upper(&usual_address(config))
            ),
        ),
        Trouble::Failed(failure) => Finding::new(
            code,
            format!("its response was cut off: {}", without_end(&failure.fault.message)),
            "Try again; if it happens again, see the log of the upstream.",
        ),
        Trouble::Unsupported(fault) => {
            Finding::new(code, without_end(&fault.message), "Choose another model or wire.")
        }
    }
}

fn unreached(config: &UpstreamConfig, unreached: ConnectError, code: &str) -> Finding {
    let address = &config.base_url;
    let is_encrypted = address.starts_with("https:");
    let (what, advice) = match unreached {
        ConnectError::UnknownHost => (
            "its host name is unknown".to_owned(),
            format!("Is base_url ({address}) spelled correctly? If only a proxy can resolve it, set proxy."),
        ),
        ConnectError::Refused => (
            "nothing listens at its address".to_owned(),
            format!("Is it running, on the port of base_url ({address})? In a container, localhost is the container itself."),
        ),
        ConnectError::NoRoute => (
            "its network is unreachable".to_owned(),
            "Is this machine online? Behind a company's firewall a proxy may be needed: set proxy, or HTTPS_PROXY.".to_owned(),
        ),
        ConnectError::NotConnected => (
            "the connection timed out".to_owned(),
            format!(
                "A firewall may drop it, or base_url ({address}) has the wrong host or port; connect_timeout sets the limit."
            ),
        ),
        ConnectError::Tls(distrust) => return Finding::new(code, tls(distrust).0, format!("{} base_url is {address}.", tls(distrust).1)),
        ConnectError::NotHttp => (
            "the server at its address does not speak HTTP".to_owned(),
            if is_encrypted {
                format!("Is the port of base_url ({address}) the right one?")
            } else {
                format!("Is the port of base_url ({address}) the right one, and should it start with https://?")
            },
        ),
        ConnectError::Closed => (
            "it closed the connection before it responded".to_owned(),
            if is_encrypted {
                "Try again; if it happens again, something in between may cut connections.".to_owned()
            } else {
                format!("Should base_url ({address}) start with https://? Is its port the right one?")
            },
        ),
        ConnectError::Silent(limit) => (
            format!("it did not respond within {limit:?}"),
            "It may be loading its model, or be overloaded; try again later. headers_timeout sets how long a request waits."
                .to_owned(),
        ),
        ConnectError::NoProxy => (
            "its proxy cannot be reached, or is of another kind".to_owned(),
            format!("Is the proxy running at {}, and is it of the kind that its address starts with?", proxy(config)),
        ),
        ConnectError::ProxyPassword => (
            "its proxy does not accept the user and password".to_owned(),
            format!("Write them into the proxy's address, as in {}user:password@host:port; @ in a password is %40.", scheme(config)),
        ),
        ConnectError::ProxyRefused => (
            "its proxy cannot connect to it".to_owned(),
            format!("The proxy may not or cannot reach {address}, or does not accept the user and password: see the log of the proxy."),
        ),
        ConnectError::Unknown => ("it cannot be reached".to_owned(), format!("Is base_url ({address}) right? curl -v may say more.")),
    };
    Finding::new(code, what, advice)
}

fn tls(distrust: CertificateError) -> (&'static str, &'static str) {
    match distrust {
        CertificateError::UnknownIssuer => (
            "its certificate is not signed by an authority that this machine trusts",
            "If the authority is your own, or a proxy of your company replaces certificates, set ca_file to the authority's certificate.",
        ),
        CertificateError::OtherName => (
            "its certificate is for another name",
            "Write the host into base_url as the certificate names it.",
        ),
        CertificateError::NotNow => (
            "its certificate has expired, or is not valid yet",
            "Its owner must renew it; or is the clock of this machine wrong?",
        ),
        CertificateError::NoTls => (
            "the server at its address does not speak TLS",
            "Should base_url start with http://, or have another port?",
        ),
        CertificateError::Other => {
            ("no TLS connection could be made", "Does it serve HTTPS on this port at all?")
        }
    }
}

fn refused(
    config: &UpstreamConfig,
    key: Option<&KeyConfig>,
    refusal: &Refusal,
    model: Option<&str>,
) -> Finding {
    let Refusal { status, failure, location, is_page } = refusal;
    let ProviderFailure { fault, scope } = failure;
    let said = if *is_page { String::new() } else { format!(": {}", without_end(&fault.message)) };
    let new = |code: &str, what: String, advice: String| Finding::new(code, what, advice);
    let is_by_proxy = matches!(config.connection.proxy, ProxyConfig::At(_))
        && config.base_url.starts_with("http:");
    match (status, scope) {
        (403 | 500.., _) if *is_page && is_by_proxy => new(
            "proxy_refused",
            format!("its proxy responded in its place ({status})"),
            format!(
                "The proxy at {} may not or cannot reach {}: see the log of the proxy.",
                proxy(config),
                config.base_url
            ),
        ),
        (300..=399, _) => {
            let to = location.as_deref().unwrap_or("an address that it does not name");
            let advice = "Redirects are not followed, so that no key is sent elsewhere: set base_url to the target, up to and including /v1.";
            new("redirect", format!("it redirects ({status}) to {to}"), advice.to_owned())
        }
        (_, FailureScope::Quota) => {
            let what =
                format!("the account of {} has no credit or quota left ({status})", name(key));
            new(
                "no_quota",
                what,
                "Top it up, or raise its limit, where the vendor bills it.".to_owned(),
            )
        }
        (403, FailureScope::Credential) => {
            let what = format!("the account of {} is closed (403)", name(key));
            new(
                "account_closed",
                what,
                "Ask its vendor for the reason; until it is open again, use another key."
                    .to_owned(),
            )
        }
        (403, _) => {
            let what = format!("{} is not permitted to do this (403)", name(key));
            new("forbidden", what, "The key may lack the permission, or its vendor does not serve this country or address.".to_owned())
        }
        (_, FailureScope::Credential) => unauthorised(config, key, *status),
        (_, FailureScope::RateLimited(wait)) => {
            let wait = wait.map_or_else(|| "a minute".to_owned(), seconds);
            new(
                "rate_limited",
                format!("{} is rate limited (429)", name(key)),
                format!("The key works; try again in {wait}, or add a key."),
            )
        }
        (404 | 405, _) => match model {
            Some(model) => new(
                "model_not_found",
                format!("it has no model {model:?}, or nothing at this address ({status}){said}"),
                format!(
                    "weir upstream test {} without --model checks whether the address is right.",
                    config.name
                ),
            ),
            None => new(
                "not_found",
                format!("there is no list of models at its address ({status})"),
                misplaced(config),
            ),
        },
        (503 | 529, _) => new(
            "overloaded",
            format!("it is overloaded ({status})"),
            "Nothing is wrong here; try again later.".to_owned(),
        ),
        (500.., _) => {
            let advice = "The upstream itself, or a proxy in front of it, failed; see its log, or its vendor's status page.";
            new("upstream_error", format!("it failed ({status}){said}"), advice.to_owned())
        }
        (_, _) => {
            let asked = model.map_or_else(
                || "its list of models".to_owned(),
                |model| format!("the model {model:?}"),
            );
            new(
                &fault.code,
                format!("it refused the request ({status}){said}"),
                format!(
                    "The request was for {asked}; is wire ({}) the API that it has?",
                    super::wire(config)
                ),
            )
        }
    }
}

fn unauthorised(config: &UpstreamConfig, key: Option<&KeyConfig>, status: u16) -> Finding {
    let Some(key) = key else {
        let variable = config
            .preset
            .key_variable()
            .map_or_else(String::new, |variable| format!(", or set {variable}"));
        let advice = format!("Set its key with api_key_env, api_key_file or api_key{variable}.");
        return Finding::new("key_missing", format!("it requires a key ({status})"), advice);
    };
    let advice = "Is it complete, from this vendor, and neither revoked nor expired? weir config shows where it comes from.";
    Finding::new("key_refused", format!("{} is refused ({status})", name(Some(key))), advice)
}

/// Likely reasons for a 404.
fn misplaced(config: &UpstreamConfig) -> String {
    let address = config.base_url.as_str();
    let segments: Vec<&str> =
        address.split("://").nth(1).unwrap_or(address).split('/').skip(1).collect();
    let is_version = |segment: &&&str| {
        segment
            .strip_prefix('v')
            .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
    };
    let versions = segments.iter().filter(is_version).count();
    // Azure's older addresses contain a deployment, and have neither a version nor a list.
    let wants_version = config.wire != WireKind::Ollama && !segments.contains(&"deployments");
    if versions > 1 {
        format!("base_url ({address}) contains its version twice.")
    } else if !wants_version && versions > 0 {
        format!("base_url ({address}) should end before its version here.")
    } else if versions == 1 && segments.last().is_some_and(|last| !is_version(&last)) {
        format!("base_url ({address}) continues after its version, which should be its end.")
    } else if wants_version && versions == 0 {
        format!("base_url ({address}) probably lacks its version, such as /v1 at its end.")
    } else {
        "If it has no list of models at all, test one of them with --model NAME instead.".to_owned()
    }
}

fn usual_address(config: &UpstreamConfig) -> String {
    match (config.preset.base_url(), config.preset) {
        (Some(usual), _) => format!("the usual address is {usual}."),
        (None, Preset::Azure) => {
            "the usual address is https://NAME.openai.azure.com/openai/v1.".to_owned()
        }
        (None, _) => "it should end with the version of the API, such as /v1.".to_owned(),
    }
}

/// The key, as a part of a sentence.
fn name(key: Option<&KeyConfig>) -> String {
    match key {
        Some(_) => format!("the key {}", label(key)),
        None => "this address".to_owned(),
    }
}

/// The proxy, without its password.
fn proxy(config: &UpstreamConfig) -> String {
    match &config.connection.proxy {
        ProxyConfig::At(url) => crate::config::without_password(url.reveal()),
        ProxyConfig::Environment | ProxyConfig::Direct => {
            "the address in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY".to_owned()
        }
    }
}

fn scheme(config: &UpstreamConfig) -> &str {
    match &config.connection.proxy {
        ProxyConfig::At(url) => url
            .reveal()
            .split_inclusive("://")
            .next()
            .filter(|scheme| scheme.ends_with("://"))
            .unwrap_or("http://"),
        ProxyConfig::Environment | ProxyConfig::Direct => "http://",
    }
}

fn seconds(wait: Duration) -> String {
    format!("{} s", wait.as_secs().max(1))
}

fn without_end(sentence: &str) -> String {
    sentence.trim_end_matches('.').to_owned()
}

fn upper(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_or_repeated_version_in_an_address_is_detected() {
        let check = |address: &str, wire, expected: &str| {
            let config = UpstreamConfig {
                wire,
                ..UpstreamConfig::new("north", Preset::Compatible, address)
            };
            assert!(misplaced(&config).contains(expected), "{address}: {}", misplaced(&config));
        };
        check("http://north.example", WireKind::Chat, "lacks its version");
        check("http://v1.example/api", WireKind::Chat, "lacks its version");
        check("http://north.example/v1/v1", WireKind::Chat, "twice");
        check(
            "http://north.example/v1/chat/completions",
            WireKind::Responses,
            "continues after its version",
        );
        check("http://north.example/v1", WireKind::Ollama, "end before its version");
        check("http://north.example/v1beta", WireKind::Gemini, "no list of models at all");
        check(
            "http://north.example/openai/deployments/ours",
            WireKind::Chat,
            "no list of models at all",
        );
        check("http://north.example", WireKind::Ollama, "no list of models at all");
    }

    #[test]
    fn the_password_of_a_proxy_is_not_shown() {
        let mut config =
            UpstreamConfig::new("north", Preset::Compatible, "http://north.example/v1");
        config.connection.proxy =
            ProxyConfig::At(engine::secret::Secret::new("socks5://me:marker@proxy:1080"));
        for why in [ConnectError::NoProxy, ConnectError::ProxyPassword, ConnectError::ProxyRefused]
        {
            let said = format!("{:?}", unreached(&config, why, "any"));
            assert!(said.contains("proxy") && !said.contains("marker"), "{said}");
        }
    }
}
