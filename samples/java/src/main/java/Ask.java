// Asks Weir with OkHttp and prints the answer as it comes. A connection that breaks is no end: the same answer goes on
// after the last event that came. Ctrl-C stops the answer at the server.
//
//   WEIR_URL=http://127.0.0.1:8000 mvn -q compile exec:java -Dexec.args="'Say hello'"

import com.google.gson.Gson;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import okhttp3.MediaType;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.RequestBody;
import okhttp3.Response;
import okhttp3.sse.EventSource;
import okhttp3.sse.EventSourceListener;
import okhttp3.sse.EventSources;

public final class Ask {
    private static final Set<String> ENDS = Set.of("response.completed", "response.incomplete", "response.failed");
    private static final int TRIES = 5;
    private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    private final String server = System.getenv().getOrDefault("WEIR_URL", "http://127.0.0.1:8000");
    private final String key = System.getenv("WEIR_API_KEY");
    // Weir sends a heartbeat every 15 s, so a minute of silence means that the connection is dead.
    private final OkHttpClient client = new OkHttpClient.Builder().readTimeout(Duration.ofSeconds(60)).build();
    // The same question with the same key is the same answer: the question may be sent again if its reply was lost.
    private final String idempotencyKey = UUID.randomUUID().toString();

    private volatile String id;
    private int position = -1;
    private JsonObject end;

    public static void main(String[] arguments) throws Exception {
        Ask ask = new Ask();
        Thread stop = new Thread(ask::cancel);
        Runtime.getRuntime().addShutdownHook(stop);
        try {
            JsonObject end = ask.run(arguments.length > 0 ? arguments[0] : "/count 20");
            OUT.println();
            System.err.println("status: " + end.get("status").getAsString());
        } finally {
            // Otherwise OkHttp's threads keep the program for another minute.
            ask.client.dispatcher().executorService().shutdown();
            ask.client.connectionPool().evictAll();
        }
        Runtime.getRuntime().removeShutdownHook(stop);
    }

    /** Reads, over as many connections as it takes, until the answer has ended. */
    private JsonObject run(String question) throws Exception {
        for (int failures = 0; end == null; ) {
            int before = position;
            String lost = read(id == null ? create(question) : resume());
            if (end != null) break;
            failures = position > before ? 0 : failures + 1;
            if (failures == TRIES) throw new IOException("gave up: " + lost);
            System.err.println("lost the connection after event " + position + " (" + lost + "); going on");
            Thread.sleep(200L << failures);
        }
        return end;
    }

    private Request create(String question) {
        String body = new Gson().toJson(Map.of("model", "demo", "input", question, "stream", true));
        return request("/v1/responses").header("Idempotency-Key", idempotencyKey)
            .post(RequestBody.create(body, MediaType.get("application/json"))).build();
    }

    private Request resume() {
        return request("/v1/responses/" + id + "?stream=true" + (position < 0 ? "" : "&starting_after=" + position)).build();
    }

    private Request.Builder request(String path) {
        Request.Builder request = new Request.Builder().url(server + path).header("Accept", "text/event-stream");
        return key == null ? request : request.header("Authorization", "Bearer " + key);
    }

    /** Reads one connection to its end, and says why it ended. A refusal will not become better and is thrown. */
    private String read(Request request) throws Exception {
        CompletableFuture<String> closed = new CompletableFuture<>();
        EventSources.createFactory(client).newEventSource(request, new EventSourceListener() {
            @Override
            public void onEvent(EventSource source, String name, String type, String data) {
                if (!data.equals("[DONE]")) take(JsonParser.parseString(data).getAsJsonObject());
            }

            @Override
            public void onClosed(EventSource source) {
                closed.complete("it was closed");
            }

            @Override
            public void onFailure(EventSource source, Throwable error, Response response) {
                if (response != null && !response.isSuccessful() && response.code() < 500) {
                    closed.completeExceptionally(new IOException("refused: " + response));
                } else {
                    closed.complete(String.valueOf(error != null ? error.getMessage() : response));
                }
            }
        });
        return closed.get();
    }

    private void take(JsonObject event) {
        String type = event.get("type").getAsString();
        if (event.has("sequence_number")) position = event.get("sequence_number").getAsInt();
        if (type.equals("response.created")) id = event.getAsJsonObject("response").get("id").getAsString();
        if (type.equals("response.output_text.delta")) OUT.print(event.get("delta").getAsString());
        if (ENDS.contains(type)) end = event.getAsJsonObject("response");
    }

    /** Closing the connection would not stop a stored answer; this does, and the model is no longer paid. */
    private void cancel() {
        if (id == null) return;
        Request request = request("/v1/responses/" + id + "/cancel").post(RequestBody.create(new byte[0])).build();
        try (Response response = client.newCall(request).execute()) {
            System.err.println("stopped: " + response.code());
        } catch (IOException error) {
            System.err.println("not stopped: " + error.getMessage());
        }
    }
}
