//! Routes: one for each `[[route]]` of the file.

use provider::config::{RouteConfig, Strategy, TargetConfig, UpstreamConfig};
use provider::demo::MODEL;

use super::field::Table;
use super::problem::Problem;
use super::settings::InForce;
use super::upstream::fields::STRATEGIES;
use super::value::{self, Raw};

/// The keys of a `[[route]]`, each with its line of the example.
pub(super) const KEYS: &[(&str, &str)] = &[
    ("model", r#""fast"                          # the name that callers use"#),
    (
        "upstreams",
        r#"["local:qwen3", "openai:gpt-5-mini"]  # the upstreams, and the model's name there; the next one if one fails"#,
    ),
    ("weights", r#"["1", "1"]                    # the share of each; equal by default"#),
    (
        "strategy",
        r#""order"                      # which is asked first: order, least_busy, round_robin or random"#,
    ),
    (
        "on_leave",
        r#""finish_within 30s, 500 tokens"  # when the last reader leaves: cancel, finish, or finish_within; default: [engine]"#,
    ),
];

/// The inputs and results of reading routes.
pub(super) struct RouteReader<'a> {
    pub(super) upstreams: &'a [UpstreamConfig],
    /// Whether a route may lead to the built-in demo.
    pub(super) may_have_demo: bool,
    pub(super) configs: Vec<RouteConfig>,
    pub(super) in_force: &'a mut Vec<InForce>,
    pub(super) problems: &'a mut Vec<Problem>,
}

impl RouteReader<'_> {
    /// Reads one `[[route]]`.
    pub(super) fn add(&mut self, table: &Table) {
        let model = self.required(table, "model", |raw| value::text(raw).map(str::to_owned));
        let targets = self.required(table, "upstreams", |raw| {
            Ok(value::list(raw)?.into_iter().map(target).collect::<Vec<_>>())
        });
        let strategy = self
            .read(table, "strategy", |raw| value::word(raw, STRATEGIES))
            .unwrap_or(Strategy::Order);
        let on_leave = self.read(table, "on_leave", value::on_leave);
        let (Some(model), Some(mut targets)) = (model, targets) else { return };
        if self.configs.iter().any(|route| route.model == model) {
            return self.problem(
                table,
                "model",
                &format!("there is already a route for {model:?}"),
            );
        }
        if targets.is_empty() {
            return self.problem(table, "upstreams", "there must be one");
        }
        if let Some(unknown) = targets.iter().find(|target| !self.is_known(&target.upstream)) {
            let reason = if unknown.upstream == MODEL {
                "demo.enabled is false, so no route can lead to the demo".to_owned()
            } else {
                format!("there is no upstream {:?}", unknown.upstream)
            };
            return self.problem(table, "upstreams", &reason);
        }
        if let Some(weights) = self.read(table, "weights", |raw| value::weights(raw, targets.len()))
        {
            targets.iter_mut().zip(weights).for_each(|(target, weight)| target.weight = weight);
        }
        for (key, _) in KEYS.iter().filter(|(key, _)| *key != "model") {
            if let Some(field) = table.fields.get(key) {
                self.in_force.push(InForce {
                    path: format!("route.{model}.{key}"),
                    value: field.raw.to_string(),
                    source: field.source.clone(),
                });
            }
        }
        self.configs.push(RouteConfig { model, upstreams: targets, strategy, on_leave });
    }

    fn is_known(&self, upstream: &str) -> bool {
        self.upstreams.iter().any(|known| known.name == upstream)
            || (upstream == MODEL && self.may_have_demo)
    }

    /// Whether a route leads to the built-in demo.
    pub(super) fn has_demo(&self) -> bool {
        let is_demo = |target: &TargetConfig| {
            target.upstream == MODEL && !self.upstreams.iter().any(|known| known.name == MODEL)
        };
        self.configs.iter().any(|route| route.upstreams.iter().any(is_demo))
    }

    fn required<T>(
        &mut self,
        table: &Table,
        key: &'static str,
        read: impl FnOnce(&Raw) -> Result<T, String>,
    ) -> Option<T> {
        if !table.fields.contains_key(key) {
            self.problem(table, key, "missing");
        }
        self.read(table, key, read)
    }

    fn read<T>(
        &mut self,
        table: &Table,
        key: &'static str,
        read: impl FnOnce(&Raw) -> Result<T, String>,
    ) -> Option<T> {
        let field = table.fields.get(key)?;
        read(&field.raw).map_err(|message| self.problem(table, key, &message)).ok()
    }

    fn problem(&mut self, table: &Table, key: &str, message: &str) {
        let source = table.fields.get(key).map_or(&table.source, |field| &field.source);
        self.problems.push(Problem::value(source, &format!("route.{key}"), message));
    }
}

/// Parses `upstream` or `upstream:model`: the upstream's name has no colon, the model's may.
fn target(text: &str) -> TargetConfig {
    let (upstream, model) = text
        .split_once(':')
        .map_or((text, None), |(upstream, model)| (upstream, Some(model.to_owned())));
    TargetConfig { upstream: upstream.trim().to_owned(), model, weight: 1 }
}
