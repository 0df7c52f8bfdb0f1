import java.time.Duration;
import java.util.List;
import org.springframework.ai.chat.client.ChatClient;
import org.springframework.ai.document.MetadataMode;
import org.springframework.ai.openai.OpenAiChatModel;
import org.springframework.ai.openai.OpenAiChatOptions;
import org.springframework.ai.openai.OpenAiEmbeddingModel;
import org.springframework.ai.openai.OpenAiEmbeddingOptions;
import org.springframework.ai.openai.api.OpenAiApi;
import org.springframework.ai.tool.annotation.Tool;
import org.springframework.retry.support.RetryTemplate;

/** Spring AI with its OpenAI model, over chat completions. */
final class Check {
    private static final Duration TIMEOUT = Duration.ofSeconds(20);
    // Its path begins with /v1.
    private static final OpenAiApi API = OpenAiApi.builder().baseUrl(Checks.WEIR).apiKey("unused").build();
    private static final RetryTemplate ONCE = RetryTemplate.builder().maxAttempts(1).build();

    public static final class Weather {
        @Tool(name = "get_weather", description = "The weather in a city")
        public String weather(String city) {
            return "12 degrees";
        }
    }

    public static void main(String[] arguments) {
        new Checks()
            .check("chat_whole", () -> {
                var content = client("demo").prompt("/echo " + Checks.TEXT).call().content();
                Checks.expect(Checks.TEXT.equals(content), content);
            })
            .check("chat_streamed", () -> Checks.expect(stream("demo", "/echo " + Checks.TEXT).equals(Checks.TEXT), "another text"))
            .check("chat_tools", () -> {
                var content = client("demo").prompt("/tool").tools(new Weather()).call().content();
                Checks.expect(content.contains("12 degrees"), content);
            })
            .check("chat_tools_streamed", () -> {
                var content = client("demo").prompt("/tool").tools(new Weather()).stream().content().collectList().block(TIMEOUT);
                Checks.expect(String.join("", content).contains("12 degrees"), content);
            })
            .check("chat_reasoning", Check::chatReasoning)
            .check("chat_failed", () -> {
                Checks.fails(() -> stream("demo", "/fail 5"), error -> true);
                Checks.fails(() -> stream("demo", "/cut 5"), error -> true);
            })
            .check("chat_status", () -> Checks.fails(() -> stream("demo", "/status 429"), error -> error.toString().contains("429")))
            .check("chat_heartbeats", () -> {
                var some = client("demo").prompt("/slow 700").stream().content().take(3).collectList().block(TIMEOUT);
                Checks.expect(some.size() == 3, some);
            })
            .check("chat_abort", () -> {
                client("fake").prompt("/endless").stream().content().blockFirst(TIMEOUT);
                Checks.left();
            })
            .check("embeddings", Check::embeddings)
            .run(Checks.version(OpenAiApi.class));
    }

    private static ChatClient client(String model) {
        var options = OpenAiChatOptions.builder().model(model).build();
        return ChatClient.create(OpenAiChatModel.builder().openAiApi(API).defaultOptions(options).retryTemplate(ONCE).build());
    }

    private static String stream(String model, String text) {
        return String.join("", client(model).prompt(text).stream().content().collectList().block(TIMEOUT));
    }

    private static void chatReasoning() {
        var responses = client("demo").prompt("/think rain").stream().chatResponse().collectList().block(TIMEOUT);
        var thoughts = new StringBuilder();
        for (var response : responses) {
            var result = response.getResult();
            if (result != null && result.getOutput().getMetadata().get("reasoningContent") instanceof String thought) {
                thoughts.append(thought);
            }
        }
        Checks.expect(thoughts.toString().contains("rain"), thoughts);
    }

    private static void embeddings() {
        Checks.needs("embeddings");
        var options = OpenAiEmbeddingOptions.builder().model("demo").build();
        var model = new OpenAiEmbeddingModel(API, MetadataMode.EMBED, options, ONCE);
        Checks.expect(model.embed(List.of("one", "two")).size() == 2, "not two vectors");
    }
}
