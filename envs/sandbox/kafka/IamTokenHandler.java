package fleetstream;

import java.io.IOException;
import java.net.ConnectException;
import java.util.List;
import java.util.Map;
import java.util.Set;
import javax.security.auth.callback.Callback;
import javax.security.auth.callback.UnsupportedCallbackException;
import javax.security.auth.login.AppConfigurationEntry;
import com.fasterxml.jackson.databind.JsonNode;
import org.apache.kafka.common.security.auth.AuthenticateCallbackHandler;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerExtensionsValidatorCallback;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerToken;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallback;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Lets a client in whose MSK IAM token the emulated AWS accepts, as MSK's own brokers ask IAM.
 *
 * <p>The principal's name is the ARN of who signed. A refusal reaches the client as an authentication error with its
 * reason; so does an AWS that does not answer, because a client must never get in unchecked.
 */
public final class IamTokenHandler implements AuthenticateCallbackHandler {
    private static final Logger LOG = LoggerFactory.getLogger(IamTokenHandler.class);

    private final EmulatedAws aws = new EmulatedAws();

    @Override
    public void configure(Map<String, ?> configs, String saslMechanism, List<AppConfigurationEntry> jaasEntries) {
    }

    @Override
    public void close() {
    }

    @Override
    public void handle(Callback[] callbacks) throws IOException, UnsupportedCallbackException {
        for (Callback callback : callbacks) {
            if (callback instanceof OAuthBearerValidatorCallback validator) {
                validate(validator);
            } else if (callback instanceof OAuthBearerExtensionsValidatorCallback extensions) {
                for (String name : extensions.inputExtensions().map().keySet()) {
                    extensions.error(name, "extensions have no meaning here");
                }
            } else {
                throw new UnsupportedCallbackException(callback);
            }
        }
    }

    private void validate(OAuthBearerValidatorCallback callback) throws IOException {
        JsonNode answer;
        try {
            answer = aws.ask("principal", Map.of("token", callback.tokenValue())).body();
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            throw new IOException("interrupted while asking for the principal", interrupted);
        } catch (ConnectException unreachable) {
            refuse(callback, "the AWS endpoint that checks tokens does not answer");
            return;
        } catch (IOException broken) {
            refuse(callback, "the AWS endpoint that checks tokens failed: " + broken.getMessage());
            return;
        }
        if (answer.has("principal") && answer.has("expires_ms")) {
            callback.token(new Token(
                callback.tokenValue(), answer.get("principal").asText(), answer.get("expires_ms").asLong()));
        } else {
            refuse(callback, answer.path("error").asText("the AWS endpoint gave neither principal nor reason"));
        }
    }

    /** The status becomes a JSON string on its way to the client: what would end it early is left out. */
    private static void refuse(OAuthBearerValidatorCallback callback, String reason) {
        LOG.info("Client refused: {}", reason);
        callback.error("Access denied: " + reason.replaceAll("[^ !#-\\[\\]-~]", ""), null, null);
    }

    private record Token(String value, String principalName, long lifetimeMs) implements OAuthBearerToken {
        @Override
        public Set<String> scope() {
            return Set.of();
        }

        @Override
        public Long startTimeMs() {
            return null;
        }
    }
}
