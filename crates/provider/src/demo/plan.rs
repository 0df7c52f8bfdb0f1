//! Decides what the demo says, before its first word.

use engine::provider::request::{ModelRequest, SUMMARISE};
use protocol::fault::Fault;
use protocol::request::TextFormat;

use super::scene::Scene;
use super::script::{DemoScript, json_object, json_text};
use super::{command, schema, talk, tool};

/// Plans the response.
///
/// # Errors
/// The error that `/status` requests.
pub(super) fn plan(request: &ModelRequest) -> Result<DemoScript, Fault> {
    let scene = Scene::of(request);
    if scene.said == SUMMARISE {
        return Ok(DemoScript::text(talk::summary(&scene)));
    }
    if scene.outputs.is_empty() {
        if let Some(script) = command::run_command(&scene, request) {
            return script;
        }
        if let Some(call) = tool::choose(request, &scene) {
            return Ok(call);
        }
    }
    Ok(DemoScript::text(match &request.create.text.format {
        TextFormat::Text => talk::answer(&scene),
        format @ (TextFormat::JsonObject { .. } | TextFormat::JsonSchema { .. }) => {
            match format.schema() {
                Some(schema) => json_text(&schema::generate(schema, &scene.said)),
                None => json_object(&scene),
            }
        }
    }))
}
