package fleetstream;

import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.stream.Collectors;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;

/** The emulated AWS's routes for its broker: a question is a GET, its answer 200 or 403 and a JSON object. */
final class EmulatedAws {
    private static final Duration PATIENCE = Duration.ofSeconds(5);
    private static final ObjectMapper JSON = new ObjectMapper();

    private final String routes = System.getenv("AWS_ENDPOINT_URL") + "/fleetstream/kafka/";
    private final HttpClient http =
        HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).connectTimeout(PATIENCE).build();

    /** What a route answered; {@code body} holds {@code error} when it refused. */
    record Answer(boolean accepted, JsonNode body) {
        String error() {
            return body.path("error").asText("the AWS endpoint gave no reason");
        }
    }

    Answer ask(String route, Map<String, String> parameters) throws IOException, InterruptedException {
        return read(http.send(request(route, parameters), HttpResponse.BodyHandlers.ofByteArray()));
    }

    CompletableFuture<Answer> askAside(String route, Map<String, String> parameters) {
        return http.sendAsync(request(route, parameters), HttpResponse.BodyHandlers.ofByteArray())
            .thenApply(response -> {
                try {
                    return read(response);
                } catch (IOException broken) {
                    throw new CompletionException(broken);
                }
            });
    }

    private HttpRequest request(String route, Map<String, String> parameters) {
        String query = parameters.entrySet().stream()
            .map(each -> each.getKey() + "=" + URLEncoder.encode(each.getValue(), StandardCharsets.UTF_8))
            .collect(Collectors.joining("&"));
        return HttpRequest.newBuilder(URI.create(routes + route + "?" + query)).timeout(PATIENCE).build();
    }

    private static Answer read(HttpResponse<byte[]> response) throws IOException {
        if (response.statusCode() != 200 && response.statusCode() != 403) {
            throw new IOException("status " + response.statusCode());
        }
        return new Answer(response.statusCode() == 200, JSON.readTree(response.body()));
    }
}
