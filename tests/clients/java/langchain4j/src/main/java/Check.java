import dev.langchain4j.agent.tool.Tool;
import dev.langchain4j.data.segment.TextSegment;
import dev.langchain4j.model.chat.StreamingChatModel;
import dev.langchain4j.model.chat.response.ChatResponse;
import dev.langchain4j.model.chat.response.PartialResponse;
import dev.langchain4j.model.chat.response.PartialResponseContext;
import dev.langchain4j.model.chat.response.PartialThinking;
import dev.langchain4j.model.chat.response.StreamingChatResponseHandler;
import dev.langchain4j.model.openai.OpenAiChatModel;
import dev.langchain4j.model.openai.OpenAiEmbeddingModel;
import dev.langchain4j.model.openai.OpenAiResponsesStreamingChatModel;
import dev.langchain4j.model.openai.OpenAiStreamingChatModel;
import dev.langchain4j.service.AiServices;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** langchain4j with its OpenAI model, over chat completions and over the Responses API. */
final class Check {
    private static final Duration TIMEOUT = Duration.ofSeconds(20);

    interface Assistant {
        String answer(String text);
    }

    static final class Weather {
        @Tool("The weather in a city")
        String weather(String city) {
            return "12 degrees";
        }
    }

    public static void main(String[] arguments) {
        new Checks()
            .check("chat_whole", () -> Checks.expect(chat("demo").chat("/echo " + Checks.TEXT).equals(Checks.TEXT), "another text"))
            .check("chat_tools", Check::chatTools)
            .check("chat_streamed", () -> streamed(streaming("demo")))
            .check("chat_reasoning", Check::chatReasoning)
            .check("chat_failed", () -> failed(streaming("demo")))
            .check("chat_status", Check::chatStatus)
            .check("chat_heartbeats", () -> Checks.expect(!new Heard(streaming("demo"), "/slow 700").some().isEmpty(), "no text"))
            .check("chat_abort", Check::chatAbort)
            .check("responses_streamed", () -> streamed(responses()))
            .check("responses_failed", () -> failed(responses()))
            .check("embeddings", Check::embeddings)
            .run(Checks.version(OpenAiChatModel.class));
    }

    private static OpenAiChatModel chat(String model) {
        return OpenAiChatModel.builder().baseUrl(Checks.BASE).apiKey("unused").modelName(model).maxRetries(0).timeout(TIMEOUT).build();
    }

    private static StreamingChatModel streaming(String model) {
        return OpenAiStreamingChatModel.builder()
            .baseUrl(Checks.BASE).apiKey("unused").modelName(model).returnThinking(true).timeout(TIMEOUT).build();
    }

    private static StreamingChatModel responses() {
        return OpenAiResponsesStreamingChatModel.builder().baseUrl(Checks.BASE).apiKey("unused").modelName("demo").build();
    }

    /** What a streaming model says to one text. */
    private static final class Heard implements StreamingChatResponseHandler {
        private final StringBuilder said = new StringBuilder();
        private final StringBuilder thought = new StringBuilder();
        private final CompletableFuture<ChatResponse> end = new CompletableFuture<>();
        private final CompletableFuture<PartialResponseContext> begun = new CompletableFuture<>();

        Heard(StreamingChatModel model, String text) {
            model.chat(text, this);
        }

        @Override
        public void onPartialResponse(PartialResponse part, PartialResponseContext context) {
            said.append(part.text());
            begun.complete(context);
        }

        @Override
        public void onPartialThinking(PartialThinking part) {
            thought.append(part.text());
        }

        @Override
        public void onCompleteResponse(ChatResponse response) {
            end.complete(response);
        }

        @Override
        public void onError(Throwable error) {
            end.completeExceptionally(error);
        }

        String text() throws Exception {
            try {
                end.get(20, TimeUnit.SECONDS);
            } catch (ExecutionException failed) {
                throw failed.getCause() instanceof Exception cause ? cause : failed;
            }
            return said.toString();
        }

        String thoughts() throws Exception {
            text();
            return thought.toString();
        }

        /** What was said within a while in which there are many heartbeats; the model goes on. */
        String some() throws Exception {
            try {
                end.get(1500, TimeUnit.MILLISECONDS);
            } catch (TimeoutException expected) {
                return said.toString();
            }
            throw new AssertionError("it ended early");
        }
    }

    private static void streamed(StreamingChatModel model) throws Exception {
        var text = new Heard(model, "/echo " + Checks.TEXT).text();
        Checks.expect(text.equals(Checks.TEXT), text);
    }

    private static void failed(StreamingChatModel model) throws Exception {
        for (var command : List.of("/fail 5", "/cut 5")) {
            Checks.fails(() -> new Heard(model, command).text(), error -> true);
        }
    }

    private static void chatTools() {
        var assistant = AiServices.builder(Assistant.class).chatModel(chat("demo")).tools(new Weather()).build();
        Checks.expect(assistant.answer("/tool").contains("12 degrees"), "the output is not in the answer");
    }

    private static void chatReasoning() throws Exception {
        var thoughts = new Heard(streaming("demo"), "/think rain").thoughts();
        Checks.expect(thoughts.contains("rain"), thoughts);
    }

    private static void chatStatus() throws Exception {
        var heard = new Heard(streaming("demo"), "/status 429");
        Checks.fails(heard::text, error -> error.toString().contains("RateLimit"));
    }

    private static void chatAbort() throws Exception {
        var heard = new Heard(streaming("fake"), "/endless");
        heard.begun.get(20, TimeUnit.SECONDS).streamingHandle().cancel();
        Checks.left();
    }

    private static void embeddings() {
        Checks.needs("embeddings");
        var model = OpenAiEmbeddingModel.builder().baseUrl(Checks.BASE).apiKey("unused").modelName("demo").maxRetries(0).build();
        Checks.expect(model.embedAll(List.of(TextSegment.from("one"), TextSegment.from("two"))).content().size() == 2, "not two vectors");
    }
}
