import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;

/** What the Java clients' checks share: where the servers are, what is asked, and how a result is printed for tests/clients/run. */
public final class Checks {
    public static final String WEIR = System.getenv("WEIR_URL");
    public static final String BASE = WEIR + "/v1";
    public static final String TEXT = "Hello, 世界!";

    /** No single check takes longer. */
    private static final int CHECK_SECONDS = 30;

    private final Map<String, Check> checks = new LinkedHashMap<>();

    public interface Check {
        void run() throws Exception;
    }

    /** The client itself cannot do this. */
    public static final class Known extends RuntimeException {
        public Known(String reason) {
            super(reason);
        }
    }

    /** This server does not have what the check is about. */
    public static final class Absent extends RuntimeException {
        Absent(String path) {
            super("no /v1/" + path);
        }
    }

    public Checks check(String name, Check check) {
        checks.put(name, check);
        return this;
    }

    /** Runs all checks and ends the program, whatever threads a client still has. */
    public void run(String version) {
        line("version", version);
        var runner = Executors.newCachedThreadPool();
        checks.forEach((name, check) -> {
            try {
                Callable<Void> call = () -> {
                    check.run();
                    return null;
                };
                runner.submit(call).get(CHECK_SECONDS, TimeUnit.SECONDS);
                line("passed", name);
            } catch (java.util.concurrent.ExecutionException failed) {
                report(name, failed.getCause());
            } catch (Exception failed) {
                report(name, failed);
            }
        });
        System.exit(0);
    }

    /** A client's name and version, as the file of one of its classes is called. */
    public static String version(Class<?> of) {
        return of.getProtectionDomain().getCodeSource().getLocation().getPath().replaceAll(".*/(.*)-([0-9.]+)\\.jar", "$1 $2");
    }

    private static void report(String name, Throwable failed) {
        if (failed instanceof Known) {
            line("known", name + ": " + failed.getMessage());
        } else if (failed instanceof Absent) {
            line("skipped", name + ": " + failed.getMessage());
        } else {
            var at = Arrays.stream(failed.getStackTrace()).filter(frame -> "Check.java".equals(frame.getFileName())).findFirst();
            line("failed", name + ": " + failed + at.map(frame -> " (line " + frame.getLineNumber() + ")").orElse(""));
        }
    }

    private static void line(String word, String text) {
        var line = text.replaceAll("\\s+", " ");
        System.out.println(word + " " + line.substring(0, Math.min(line.length(), 500)));
    }

    public static void expect(boolean isTrue, Object found) {
        if (!isTrue) {
            throw new AssertionError(String.valueOf(found));
        }
    }

    /** What a call throws, after a check that it fits. */
    public static Throwable fails(Check action, Predicate<Throwable> fits) throws Exception {
        try {
            action.run();
        } catch (Throwable error) {
            if (!fits.test(error)) {
                throw error;
            }
            return error;
        }
        throw new AssertionError("it did not fail");
    }

    public static void needs(String path) {
        if (!Arrays.asList(System.getenv("WEIR_PATHS").split(",")).contains(path)) {
            throw new Absent(path);
        }
    }

    /** Waits until the fake upstream saw its caller leave an endless response. */
    public static void left() throws Exception {
        var request = HttpRequest.newBuilder(URI.create(System.getenv("UPSTREAM_URL") + "/left")).build();
        expect(HttpClient.newHttpClient().send(request, BodyHandlers.discarding()).statusCode() == 200, "the upstream was not left");
    }
}
