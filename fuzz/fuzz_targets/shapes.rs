//! Requests, chats, client events, schemas and conversations, made from any bytes: valid ones mostly, and large in many ways.
//!
//! Lists repeat what they hold up to thousands of times, from a few bytes of input: work that grows faster than a request does
//! shows only in large ones. The cost targets and the tests of the crates share this.

use serde_json::{Map, Value, json};

/// About how many values one shape holds at most, so that each takes milliseconds.
const VALUES: usize = 12_000;

/// How deep values lie in each other. Above the 64 that a schema may have, below what JSON readers refuse.
const DEPTH: usize = 80;

/// What people say, and what the demo model makes more of than of other text.
const TEXTS: [&str; 16] = [
    "",
    "hi",
    "my name is Ada. my cat is Tom. ",
    "what is (1+2)*3-4/5? ",
    "/json",
    "/tool",
    "/count 300",
    "/lorem 300",
    "/echo ((((((((((",
    "/think of it",
    "/cut 40",
    "what is the weather in New York? ",
    "`*_[](http://a) \u{202e}\u{1f469}\u{200d}\u{1f469}\u{0301} ",
    "\\\"\u{0}\u{1}\n",
    "data:image/png;base64,QUJDQUJDQUJD",
    "when did I say what my k1 is? my k1 is v. ",
];

/// The bytes that choose, one after another; behind their end all are zero.
pub(crate) struct Shapes {
    bytes: std::vec::IntoIter<u8>,
    /// How many values there may still be.
    left: usize,
}

impl Shapes {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self { bytes: Vec::from(bytes).into_iter(), left: VALUES }
    }

    /// A request of `POST /v1/responses`.
    pub(crate) fn request(&mut self) -> Value {
        let mut body = json!({ "model": "demo" });
        body["input"] = if self.chance(4) { self.text().into() } else { self.list(40, Self::item) };
        self.tools(&mut body, |tool| tool, |shapes| shapes.index().into());
        if self.chance(3) {
            let format = json!({ "type": "json_schema", "name": "s", "schema": self.schema(), "strict": self.chance(2) });
            body["text"] = json!({ "format": format });
        }
        if self.chance(4) {
            body["instructions"] = self.text().into();
        }
        if self.chance(4) {
            body["include"] = self.list(6, |shapes| {
                shapes
                    .pick(&["reasoning.encrypted_content", "message.output_text.logprobs", "x"])
                    .into()
            });
        }
        self.common(&mut body);
        body
    }

    /// A request of `POST /v1/chat/completions`.
    pub(crate) fn chat(&mut self) -> Value {
        let mut body = json!({ "model": "demo", "messages": self.list(40, Self::message) });
        let nested = |tool: Value| {
            let kind = tool["type"].as_str().unwrap_or("function").to_owned();
            json!({ "type": kind, kind: tool })
        };
        self.tools(&mut body, nested, |shapes| json!({ "name": format!("f{}", shapes.index()) }));
        if self.chance(3) {
            body["response_format"] = json!({ "type": "json_schema", "json_schema": { "name": "s", "schema": self.schema() } });
        }
        if self.chance(4) {
            body["stop"] = self.list(5, |shapes| shapes.text().into());
        }
        self.common(&mut body);
        body
    }

    /// What a client sends on a socket.
    pub(crate) fn event(&mut self) -> Value {
        let mut event = if self.chance(5) {
            json!({ "response_id": "resp_1", "starting_after": self.number() })
        } else {
            self.request()
        };
        event["type"] = self
            .pick(&[
                "response.create",
                "response.create",
                "response.create",
                "response.cancel",
                "response.resume",
            ])
            .into();
        if self.chance(3) {
            event["stream_id"] = self.pick(&["a", "lane.1", "not a name", ""]).into();
        }
        event
    }

    /// A JSON schema, some of whose keywords multiply.
    pub(crate) fn schema(&mut self) -> Value {
        self.schema_within(8)
    }

    fn schema_within(&mut self, depth: usize) -> Value {
        if depth == 0 || self.left == 0 {
            return json!({ "$ref": "#" });
        }
        self.left = self.left.saturating_sub(2);
        let inner = |shapes: &mut Self| shapes.schema_within(depth - 1);
        match self.below(14) {
            0 => {
                json!({ "$ref": self.pick(&["#", "#/items", "#/properties/p1", "#/$defs/p0", "#/none"]) })
            }
            1 => {
                json!({ "type": "string", "minLength": self.number(), "maxLength": self.number(), "format": self.pick(&["date", "expression"]) })
            }
            2 => {
                json!({ "type": "integer", "minimum": self.number(), "multipleOf": self.number() })
            }
            3 => json!({ "enum": self.list(20, |shapes| shapes.anything(3)) }),
            4 => json!({ "type": "array", "minItems": self.number(), "items": inner(self) }),
            5 => json!({ "type": "array", "prefixItems": self.list(8, inner) }),
            6 => json!({ "allOf": self.list(8, inner) }),
            7 => json!({ "anyOf": self.list(8, inner), "oneOf": self.list(4, inner) }),
            8 => json!({ "const": self.anything(5) }),
            9 => {
                json!({ "type": self.list(8, |shapes| shapes.pick(&["null", "string", "array", "object"]).into()) })
            }
            10 => json!({ "$defs": self.fields(4, inner), "$ref": "#/$defs/p0" }),
            11 => {
                let depth = self.below(DEPTH);
                (0..depth).fold(
                    inner(self),
                    |inner, _| json!({ "type": "array", "minItems": 2, "items": inner }),
                )
            }
            _ => {
                let properties = self.fields(20, inner);
                let required: Vec<String> = properties.keys().cloned().collect();
                json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": self.chance(2) })
            }
        }
    }

    /// An item of a conversation.
    fn item(&mut self) -> Value {
        let (index, other) = (self.index(), self.index());
        let call = |kind: &str| json!({ "type": kind, "call_id": format!("c{index}"), "name": format!("f{other}") });
        let with = |mut item: Value, name: &str, value: Value| {
            item[name] = value;
            item
        };
        match self.below(14) {
            0..=2 => {
                json!({ "role": self.pick(&["user", "system", "developer"]), "content": self.text() })
            }
            3 => json!({ "role": "user", "content": self.list(10, Self::part) }),
            4 => json!({ "role": "assistant", "content": self.list(10, Self::said) }),
            5 | 6 => with(call("function_call"), "arguments", self.arguments().into()),
            7 | 8 => {
                json!({ "type": "function_call_output", "call_id": format!("c{index}"), "output": self.text() })
            }
            9 => with(call("custom_tool_call"), "input", self.text().into()),
            10 => {
                json!({ "type": "custom_tool_call_output", "call_id": format!("c{index}"), "output": self.list(6, Self::part) })
            }
            11 => {
                let summary =
                    self.list(6, |shapes| json!({ "type": "summary_text", "text": shapes.text() }));
                json!({ "type": "reasoning", "summary": summary, "encrypted_content": self.text() })
            }
            12 => {
                json!({ "type": self.pick(&["item_reference", "compaction", "web_search_call", "x"]), "id": format!("i{index}") })
            }
            _ => self.anything(6),
        }
    }

    fn part(&mut self) -> Value {
        match self.below(5) {
            0 => {
                json!({ "type": "input_image", "image_url": "data:image/png;base64,QUJD", "detail": "auto" })
            }
            1 => {
                json!({ "type": "input_file", "filename": self.text(), "file_data": "data:text/plain;base64,QUJD" })
            }
            2 => json!({ "type": "x", "x": self.anything(4) }),
            _ => json!({ "type": "input_text", "text": self.text() }),
        }
    }

    fn said(&mut self) -> Value {
        let annotations =
            self.list(8, |shapes| json!({ "type": "url_citation", "url": "http://a", "start_index": shapes.number(), "end_index": 1 }));
        json!({ "type": "output_text", "text": self.text(), "annotations": annotations })
    }

    /// A message of chat completions.
    fn message(&mut self) -> Value {
        let index = self.index();
        match self.below(8) {
            0..=2 => {
                json!({ "role": self.pick(&["user", "system", "developer", "assistant"]), "content": self.text() })
            }
            3 => {
                json!({ "role": "user", "content": self.list(10, |shapes| json!({ "type": "text", "text": shapes.text() })) })
            }
            4 => {
                let call = |shapes: &mut Self| {
                    let (index, other) = (shapes.index(), shapes.index());
                    let function =
                        json!({ "name": format!("f{other}"), "arguments": shapes.arguments() });
                    json!({ "id": format!("c{index}"), "type": "function", "function": function })
                };
                json!({ "role": "assistant", "content": null, "tool_calls": self.list(20, call) })
            }
            5 | 6 => {
                json!({ "role": "tool", "tool_call_id": format!("c{index}"), "content": self.text() })
            }
            _ => {
                let (url, message) = ("data:image/png;base64,QUJD", self.anything(5));
                json!({ "role": "user", "content": [{ "type": "image_url", "image_url": { "url": url } }], "x": message })
            }
        }
    }

    /// Tools, and the choice of some. `wrap` makes a tool of this dialect, `choose` a chosen one.
    fn tools(
        &mut self,
        body: &mut Value,
        wrap: impl Fn(Value) -> Value,
        choose: impl Fn(&mut Self) -> Value,
    ) {
        if self.chance(2) {
            return;
        }
        let tool = |shapes: &mut Self| {
            let name = format!("f{}", shapes.index());
            match shapes.below(4) {
                0 => wrap(json!({ "type": "custom", "name": name })),
                1 => wrap(
                    json!({ "type": "function", "name": name, "description": shapes.text(), "parameters": shapes.schema() }),
                ),
                _ => wrap(
                    json!({ "type": "function", "name": name, "parameters": { "type": "object" } }),
                ),
            }
        };
        body["tools"] = self.list(60, tool);
        let names = self.list(60, |shapes| {
            let chosen = choose(shapes);
            if chosen.is_object() {
                json!({ "type": "function", "function": chosen })
            } else {
                json!({ "type": "function", "name": format!("f{chosen}") })
            }
        });
        let mode = self.pick(&["auto", "required"]);
        match self.below(4) {
            0 => body["tool_choice"] = "required".into(),
            1 => {
                body["tool_choice"] =
                    json!({ "type": "allowed_tools", "mode": mode, "tools": names });
            }
            2 => {
                body["tool_choice"] = json!({ "type": "allowed_tools", "allowed_tools": { "mode": mode, "tools": names } });
            }
            _ => {}
        }
    }

    /// What both dialects have, and what neither has.
    fn common(&mut self, body: &mut Value) {
        if self.chance(3) {
            body["metadata"] = Value::Object(self.fields(4, |shapes| shapes.text().into()));
        }
        if self.chance(3) {
            body["x"] = self.anything(DEPTH);
        }
        if self.chance(4) {
            let fields = self.fields(30, |shapes| shapes.anything(3));
            fields.into_iter().for_each(|(name, value)| body[name] = value);
        }
        body["stream"] = self.chance(2).into();
        body["store"] = self.chance(2).into();
        if self.chance(6) {
            let name = self.pick(&[
                "temperature",
                "top_p",
                "seed",
                "max_output_tokens",
                "max_tokens",
                "user",
                "reasoning",
                "n",
                "logprobs",
                "model",
            ]);
            body[name] = self.anything(3);
        }
    }

    /// Any JSON at all.
    fn anything(&mut self, depth: usize) -> Value {
        self.left = self.left.saturating_sub(1);
        let inner = |shapes: &mut Self| shapes.anything(depth.saturating_sub(1).min(4));
        match self.below(10) {
            _ if depth == 0 || self.left == 0 => Value::Null,
            0 => Value::Null,
            1 => self.chance(2).into(),
            2 | 3 => self.number().into(),
            4 => json!(0.1),
            5 => self.text().into(),
            6 | 7 => self.list(30, inner),
            8 => Value::Object(self.fields(20, inner)),
            _ => (0..depth).fold(inner(self), |inner, level| {
                if level % 2 == 0 { json!([inner]) } else { json!({ "a": inner }) }
            }),
        }
    }

    /// Several made anew, or one of them again and again.
    fn list(&mut self, most: usize, mut make: impl FnMut(&mut Self) -> Value) -> Value {
        let count = if self.chance(3) { 1 << self.below(14) } else { self.below(most) };
        let mut items = Vec::new();
        while items.len() < count && self.left > 0 {
            let before = self.left;
            self.left -= 1;
            // When the bytes have come to their end, there is nothing new to be made.
            if self.bytes.len() == 0 && !items.is_empty() {
                let from = items.len() % items.len().min(7);
                let again: Value = Value::clone(&items[from]);
                self.left = self.left.saturating_sub(size(&again));
                items.push(again);
                continue;
            }
            items.push(make(self));
            if count > most {
                self.repeat(&mut items, before - self.left, count / most);
            }
        }
        items.into()
    }

    /// Repeats the last item, which took `each`, with other names in it: calls then belong together, or do not.
    fn repeat(&mut self, items: &mut Vec<Value>, each: usize, times: usize) {
        let Some(last) = items.last().cloned() else { return };
        let is_numbered = self.chance(2);
        let each = each.max(size(&last));
        for _ in 0..times.min(self.left / each.max(1)) {
            let mut again = last.clone();
            for name in ["call_id", "name", "id", "tool_call_id"] {
                if is_numbered && again.get(name).is_some() {
                    again[name] = format!("{}{}", &name[..1], items.len()).into();
                }
            }
            items.push(again);
            self.left = self.left.saturating_sub(each);
        }
    }

    fn fields(
        &mut self,
        most: usize,
        mut make: impl FnMut(&mut Self) -> Value,
    ) -> Map<String, Value> {
        let count = if self.chance(4) { 1 << self.below(12) } else { self.below(most) };
        let mut fields = Map::new();
        while fields.len() < count && self.left > 0 {
            self.left -= 1;
            fields.insert(format!("p{}", fields.len()), make(self));
        }
        fields
    }

    /// A text, long now and then.
    fn text(&mut self) -> String {
        let text = TEXTS[self.below(TEXTS.len())];
        let times = if self.chance(12) { 1 << self.below(11) } else { 1 };
        let times = times.min(1 + self.left);
        self.left = self.left.saturating_sub(times - 1);
        text.repeat(times)
    }

    fn arguments(&mut self) -> String {
        match self.below(4) {
            0 => self.text(),
            1 => self.anything(5).to_string(),
            _ => "{}".to_owned(),
        }
    }

    /// A number in a name: a few are shared, most are not.
    fn index(&mut self) -> usize {
        if self.chance(3) { self.below(3) } else { self.left }
    }

    fn number(&mut self) -> u64 {
        [0, 1, 2, 3, 9, 100, 1_000, 60_000, 99_999_999_999, u64::MAX][self.below(10)]
    }

    fn pick(&mut self, words: &[&'static str]) -> &'static str {
        words[self.below(words.len())]
    }

    /// Whether it is so, one time of `times`.
    fn chance(&mut self, times: usize) -> bool {
        self.below(times) == 1
    }

    fn below(&mut self, end: usize) -> usize {
        usize::from(self.bytes.next().unwrap_or_default()) % end.max(1)
    }
}

/// About how many values there are in one, itself included.
fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(fields) => fields.values().map(size).sum(),
        _ => 0,
    }
}
