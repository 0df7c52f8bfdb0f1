import com.fasterxml.jackson.annotation.JsonClassDescription;
import com.openai.client.OpenAIClient;
import com.openai.client.okhttp.OpenAIOkHttpClient;
import com.openai.errors.RateLimitException;
import com.openai.models.Reasoning;
import com.openai.models.chat.completions.ChatCompletionCreateParams;
import com.openai.models.chat.completions.ChatCompletionToolMessageParam;
import com.openai.models.embeddings.EmbeddingCreateParams;
import com.openai.models.responses.ResponseCreateParams;
import com.openai.models.responses.ResponseInputItem;
import com.openai.models.responses.ResponseStreamEvent;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/** OpenAI's SDK for Java. */
final class Check {
    private static final OpenAIClient CLIENT = OpenAIOkHttpClient.builder()
        .baseUrl(Checks.BASE).apiKey("unused").maxRetries(0).timeout(Duration.ofSeconds(20)).build();

    @JsonClassDescription("The weather in a city")
    public static final class Weather {
        public String city;
    }

    public static void main(String[] arguments) {
        new Checks()
            .check("chat_whole", Check::chatWhole)
            .check("chat_streamed", Check::chatStreamed)
            .check("chat_tools", Check::chatTools)
            .check("chat_reasoning", () -> Checks.expect(streamChat("demo", "/think rain").thoughts.contains("rain"), "no thoughts"))
            .check("chat_failed", Check::chatFailed)
            .check("chat_status", () -> Checks.fails(() -> streamChat("demo", "/status 429"), error -> error instanceof RateLimitException))
            .check("chat_abort", Check::chatAbort)
            .check("responses_whole", Check::responsesWhole)
            .check("responses_streamed", Check::responsesStreamed)
            .check("responses_tools", Check::responsesTools)
            .check("responses_reasoning", Check::responsesReasoning)
            .check("responses_reasoning_summary", Check::responsesReasoningSummary)
            .check("responses_failed", Check::responsesFailed)
            .check("responses_status", Check::responsesStatus)
            .check("embeddings", Check::embeddings)
            .run(Checks.version(OpenAIClient.class));
    }

    private static ChatCompletionCreateParams.Builder chat(String model, String text) {
        return ChatCompletionCreateParams.builder().model(model).addUserMessage(text);
    }

    private static ResponseCreateParams.Builder respond(String model, String text) {
        return ResponseCreateParams.builder().model(model).input(text);
    }

    private record Said(String text, String thoughts) {
    }

    private static Said streamChat(String model, String text) {
        var said = new StringBuilder();
        var thoughts = new StringBuilder();
        try (var stream = CLIENT.chat().completions().createStreaming(chat(model, text).build())) {
            stream.stream().flatMap(chunk -> chunk.choices().stream()).forEach(choice -> {
                choice.delta().content().ifPresent(said::append);
                var thought = choice.delta()._additionalProperties().get("reasoning_content");
                if (thought != null) {
                    thought.asString().ifPresent(thoughts::append);
                }
            });
        }
        return new Said(said.toString(), thoughts.toString());
    }

    private static List<ResponseStreamEvent> events(ResponseCreateParams params) {
        var events = new ArrayList<ResponseStreamEvent>();
        try (var stream = CLIENT.responses().createStreaming(params)) {
            stream.stream().forEach(events::add);
        }
        return events;
    }

    private static void chatWhole() {
        var made = CLIENT.chat().completions().create(chat("demo", "/echo " + Checks.TEXT).build());
        Checks.expect(made.choices().get(0).message().content().orElseThrow().equals(Checks.TEXT), made);
    }

    private static void chatStreamed() {
        var said = streamChat("demo", "/echo " + Checks.TEXT).text;
        Checks.expect(said.equals(Checks.TEXT), said);
    }

    private static void chatTools() {
        var params = chat("demo", "/tool").addTool(Weather.class);
        var message = CLIENT.chat().completions().create(params.build()).choices().get(0).message();
        var call = message.toolCalls().orElseThrow().get(0).asFunction();
        var output = ChatCompletionToolMessageParam.builder().toolCallId(call.id()).content("12 degrees").build();
        var again = CLIENT.chat().completions().create(params.addMessage(message).addMessage(output).build());
        Checks.expect(again.choices().get(0).message().content().orElseThrow().contains("12 degrees"), again);
    }

    private static void chatFailed() throws Exception {
        Checks.fails(() -> streamChat("demo", "/fail 5"), error -> error.toString().contains("The demo failed"));
        Checks.fails(() -> streamChat("demo", "/cut 5"), error -> true);
    }

    private static void chatAbort() throws Exception {
        try (var stream = CLIENT.chat().completions().createStreaming(chat("fake", "/endless").build())) {
            stream.stream().findFirst().orElseThrow();
        }
        Checks.left();
    }

    private static void responsesWhole() {
        var made = CLIENT.responses().create(respond("demo", "/echo " + Checks.TEXT).build());
        Checks.expect(made.output().get(0).asMessage().content().get(0).asOutputText().text().equals(Checks.TEXT), made);
    }

    private static void responsesStreamed() {
        var text = new StringBuilder();
        for (var event : events(respond("demo", "/echo " + Checks.TEXT).build())) {
            event.outputTextDelta().ifPresent(delta -> text.append(delta.delta()));
        }
        Checks.expect(text.toString().equals(Checks.TEXT), text);
    }

    private static void responsesTools() {
        var first = CLIENT.responses().create(respond("demo", "/tool").addTool(Weather.class).build());
        var call = first.output().stream().filter(item -> item.isFunctionCall()).findFirst().orElseThrow().asFunctionCall();
        var output = ResponseInputItem.FunctionCallOutput.builder().callId(call.callId()).output("12 degrees").build();
        var params = ResponseCreateParams.builder().model("demo").previousResponseId(first.id()).addTool(Weather.class)
            .inputOfResponse(List.of(ResponseInputItem.ofFunctionCallOutput(output))).build();
        Checks.expect(CLIENT.responses().create(params).toString().contains("12 degrees"), "the output is not in the answer");
    }

    private static void responsesReasoning() {
        var thoughts = new StringBuilder();
        for (var event : events(respond("demo", "/think rain").build())) {
            event.reasoningTextDelta().ifPresent(delta -> thoughts.append(delta.delta()));
        }
        Checks.expect(thoughts.toString().contains("rain"), thoughts);
    }

    private static void responsesReasoningSummary() {
        var thoughts = new StringBuilder();
        var params = respond("demo", "/think rain").reasoning(Reasoning.builder().summary(Reasoning.Summary.AUTO).build()).build();
        events(params).forEach(event -> event.reasoningSummaryTextDelta().ifPresent(delta -> thoughts.append(delta.delta())));
        Checks.expect(thoughts.toString().contains("rain"), thoughts);
    }

    private static void responsesFailed() {
        for (var command : List.of("/fail 5", "/cut 5")) {
            List<ResponseStreamEvent> events;
            try {
                events = events(respond("demo", command).build());
            } catch (RuntimeException seen) {
                continue;
            }
            var isFailed = events.stream().anyMatch(event -> event.failed().isPresent() || event.error().isPresent());
            Checks.expect(isFailed, command + " passes for whole");
        }
    }

    private static void responsesStatus() throws Exception {
        Checks.fails(() -> events(respond("fake", "/status 429").build()), error -> error instanceof RateLimitException);
    }

    private static void embeddings() {
        Checks.needs("embeddings");
        var params = EmbeddingCreateParams.builder().model("demo").inputOfArrayOfStrings(List.of("one", "two")).build();
        Checks.expect(CLIENT.embeddings().create(params).data().size() == 2, "not two vectors");
    }
}
