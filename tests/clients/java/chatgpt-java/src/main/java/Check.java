import com.unfbx.chatgpt.OpenAiClient;
import com.unfbx.chatgpt.OpenAiStreamClient;
import com.unfbx.chatgpt.entity.chat.ChatCompletion;
import com.unfbx.chatgpt.entity.chat.Message;
import com.unfbx.chatgpt.entity.embeddings.Embedding;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import okhttp3.Response;
import okhttp3.sse.EventSource;
import okhttp3.sse.EventSourceListener;

/** chatgpt-java, with which the Java demo of 2023 was written. */
final class Check {
    private static final String HOST = Checks.WEIR + "/";
    private static final OpenAiClient CLIENT = OpenAiClient.builder().apiHost(HOST).apiKey(List.of("unused")).build();
    private static final OpenAiStreamClient STREAMS = OpenAiStreamClient.builder().apiHost(HOST).apiKey(List.of("unused")).build();

    public static void main(String[] arguments) {
        new Checks()
            .check("chat_whole", Check::chatWhole)
            .check("chat_streamed", Check::chatStreamed)
            .check("chat_failed", () -> {
                for (var command : List.of("/fail 5", "/cut 5")) {
                    Checks.fails(() -> new Heard("demo", command).end.get(20, TimeUnit.SECONDS), error -> true);
                }
            })
            .check("chat_heartbeats", () -> {
                var heard = new Heard("demo", "/slow 700");
                heard.third.get(20, TimeUnit.SECONDS).cancel();
            })
            .check("chat_abort", () -> {
                new Heard("fake", "/endless").third.get(20, TimeUnit.SECONDS).cancel();
                Checks.left();
            })
            .check("embeddings", Check::embeddings)
            .run(Checks.version(OpenAiClient.class));
    }

    private static ChatCompletion chat(String model, String text) {
        var message = Message.builder().role(Message.Role.USER).content(text).build();
        return ChatCompletion.builder().model(model).messages(List.of(message)).build();
    }

    /** A listener as its readers write them: the text up to [DONE]. */
    private static final class Heard extends EventSourceListener {
        private final StringBuilder events = new StringBuilder();
        private final CompletableFuture<String> end = new CompletableFuture<>();
        private final CompletableFuture<EventSource> third = new CompletableFuture<>();
        private int count;

        Heard(String model, String text) {
            STREAMS.streamChatCompletion(chat(model, text), this);
        }

        @Override
        public void onEvent(EventSource source, String id, String type, String data) {
            events.append(data).append('\n');
            count++;
            if (count == 3) {
                third.complete(source);
            }
        }

        @Override
        public void onClosed(EventSource source) {
            end.complete(events.toString());
        }

        @Override
        public void onFailure(EventSource source, Throwable error, Response response) {
            end.completeExceptionally(error == null ? new IllegalStateException("status " + response.code()) : error);
        }
    }

    private static void chatWhole() {
        var made = CLIENT.chatCompletion(chat("demo", "/echo " + Checks.TEXT));
        Checks.expect(Checks.TEXT.equals(made.getChoices().get(0).getMessage().getContent()), made);
    }

    private static void chatStreamed() throws Exception {
        var events = new Heard("demo", "/echo " + Checks.TEXT).end.get(20, TimeUnit.SECONDS);
        Checks.expect(events.contains("世界") && events.endsWith("[DONE]\n"), events);
    }

    private static void embeddings() {
        Checks.needs("embeddings");
        var made = CLIENT.embeddings(Embedding.builder().model("demo").input(List.of("one", "two")).build());
        Checks.expect(made.getData().size() == 2, made);
    }
}
