//! Identifies an upstream in OpenTelemetry's terms.

use std::sync::Arc;

use engine::provider::call::Peer;
use url::Url;

use crate::preset::Preset;

/// Host names or their suffixes, with their `gen_ai.provider.name`.
const SYSTEMS: &[(&str, &str)] = &[
    ("api.openai.com", "openai"),
    ("openai.azure.com", "azure.ai.openai"),
    ("services.ai.azure.com", "azure.ai.inference"),
    ("api.anthropic.com", "anthropic"),
    ("generativelanguage.googleapis.com", "gcp.gemini"),
    ("aiplatform.googleapis.com", "gcp.vertex_ai"),
    ("amazonaws.com", "aws.bedrock"),
    ("api.deepseek.com", "deepseek"),
    ("api.mistral.ai", "mistral_ai"),
    ("api.moonshot.ai", "moonshot_ai"),
    ("api.moonshot.cn", "moonshot_ai"),
    ("api.groq.com", "groq"),
    ("api.perplexity.ai", "perplexity"),
    ("api.cohere.ai", "cohere"),
    ("api.x.ai", "x_ai"),
];

/// The peer at `url`. Hosts that the conventions do not name use the upstream's name from the
/// settings.
pub(super) fn of(url: &Url, name: &str, preset: Preset) -> Peer {
    let host = url.host_str().unwrap_or_default();
    let known = SYSTEMS.iter().find(|(known, _)| is_below(host, known)).map(|(_, system)| *system);
    let system = known.or_else(|| preset.system()).unwrap_or(name);
    Peer {
        system: system.into(),
        address: Some((Arc::from(host), url.port_or_known_default().unwrap_or_default())),
    }
}

fn is_below(host: &str, known: &str) -> bool {
    host.strip_suffix(known).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_hosts_use_the_conventional_names_and_others_the_upstream_name() {
        for (url, system, port) in [
            ("https://api.openai.com/v1", "openai", 443),
            ("https://mine.openai.azure.com/openai/v1", "azure.ai.openai", 443),
            ("https://notapi.openai.com.example/v1", "local", 443),
            ("http://localhost:11434/v1", "local", 11434),
        ] {
            let peer = of(&Url::parse(url).unwrap(), "local", Preset::Compatible);
            assert_eq!(
                (&*peer.system, peer.address.map(|(_, port)| port)),
                (system, Some(port)),
                "{url}"
            );
        }
    }
}
