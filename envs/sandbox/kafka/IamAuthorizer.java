package fleetstream;

import java.io.IOException;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Collectors;
import org.apache.kafka.common.Endpoint;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.errors.SecurityDisabledException;
import org.apache.kafka.common.resource.Resource;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.server.authorizer.AclCreateResult;
import org.apache.kafka.server.authorizer.AclDeleteResult;
import org.apache.kafka.server.authorizer.Action;
import org.apache.kafka.server.authorizer.AuthorizableRequestContext;
import org.apache.kafka.server.authorizer.AuthorizationResult;
import org.apache.kafka.server.authorizer.Authorizer;
import org.apache.kafka.server.authorizer.AuthorizerServerInfo;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Lets a client do what its IAM policies and the cluster's allow, as MSK's brokers do, at every request.
 *
 * <p>The emulated AWS decides; the principal's name is the ARN that {@link IamTokenHandler} gave it. The broker's own
 * certificate ({@code super.users}) may do everything, because with it the broker asks its controller.
 *
 * <p>A decision is a map look-up for {@code FRESH}; from then on the next request that needs it has it looked at again
 * aside, and only one that nobody needed for {@code HELD} is waited for. So a change of a policy takes effect within
 * {@code HELD}, and a client in full flow does not wait. While the AWS does not answer, what was decided stays decided:
 * who is at work goes on, and what was never asked is denied.
 *
 * <p>Kafka's own lists of rights decide nothing here; to change them is refused.
 */
public final class IamAuthorizer implements Authorizer {
    private static final Logger LOG = LoggerFactory.getLogger(IamAuthorizer.class);
    private static final long FRESH = TimeUnit.SECONDS.toNanos(3);
    private static final long HELD = TimeUnit.SECONDS.toNanos(9);
    /** How long an AWS that did not answer is left alone. */
    private static final long REST = TimeUnit.SECONDS.toNanos(1);
    /** Clients name topics and groups as they like: more decisions than this are forgotten and asked for again. */
    private static final int MOST = 10_000;

    private static final String ROUTE = "allowed";

    private final EmulatedAws aws = new EmulatedAws();
    private final Map<Question, Decision> decisions = new ConcurrentHashMap<>();
    private volatile Set<String> superUsers = Set.of();
    private volatile boolean answering = true;
    private volatile long restsUntil = System.nanoTime();

    /** {@code told}: whether a denial is worth a line in the log; lists are only filtered by what may be seen. */
    private record Question(String principal, AclOperation operation, ResourceType kind, String name, boolean told) {
        Map<String, String> parameters() {
            return Map.of(
                "principal", principal, "operation", operation.name(), "kind", kind.name(), "name", name,
                "told", Boolean.toString(told));
        }
    }

    private record Decision(AuthorizationResult result, long madeAt, AtomicBoolean renewing) {
    }

    @Override
    public void configure(Map<String, ?> configs) {
        Object listed = configs.get("super.users");
        superUsers = listed == null ? Set.of() : Arrays.stream(listed.toString().split(";")).collect(Collectors.toSet());
    }

    @Override
    public Map<Endpoint, ? extends CompletionStage<Void>> start(AuthorizerServerInfo server) {
        return server.endpoints().stream()
            .collect(Collectors.toMap(each -> each, each -> CompletableFuture.<Void>completedFuture(null)));
    }

    @Override
    public void close() {
    }

    @Override
    public List<AuthorizationResult> authorize(AuthorizableRequestContext request, List<Action> actions) {
        if (superUsers.contains(request.principal().toString())) {
            return Collections.nCopies(actions.size(), AuthorizationResult.ALLOWED);
        }
        String principal = request.principal().getName();
        return actions.stream().map(each -> decide(new Question(
            principal, each.operation(), each.resourcePattern().resourceType(), each.resourcePattern().name(),
            each.logIfDenied()))).toList();
    }

    /**
     * Kafka takes the right to write to any topic for enough to write idempotently, and asks for it when the right to
     * do so on the cluster is missing. MSK wants the latter: it is asked for once more, and told.
     */
    @Override
    public AuthorizationResult authorizeByResourceType(
            AuthorizableRequestContext request, AclOperation operation, ResourceType kind) {
        if (operation != AclOperation.WRITE || kind != ResourceType.TOPIC) {
            return AuthorizationResult.DENIED;
        }
        return decide(new Question(
            request.principal().getName(), AclOperation.IDEMPOTENT_WRITE, ResourceType.CLUSTER, Resource.CLUSTER_NAME,
            true));
    }

    @Override
    public Iterable<AclBinding> acls(AclBindingFilter filter) {
        return List.of();
    }

    @Override
    public List<? extends CompletionStage<AclCreateResult>> createAcls(
            AuthorizableRequestContext request, List<AclBinding> bindings) {
        return Collections.nCopies(
            bindings.size(), CompletableFuture.completedFuture(new AclCreateResult(withoutEffect())));
    }

    @Override
    public List<? extends CompletionStage<AclDeleteResult>> deleteAcls(
            AuthorizableRequestContext request, List<AclBindingFilter> filters) {
        return Collections.nCopies(
            filters.size(), CompletableFuture.completedFuture(new AclDeleteResult(withoutEffect())));
    }

    private static SecurityDisabledException withoutEffect() {
        return new SecurityDisabledException("ACLs have no effect on IAM clients: change the client's IAM policy");
    }

    private AuthorizationResult decide(Question question) {
        Decision known = decisions.get(question);
        long age = known == null ? 0 : System.nanoTime() - known.madeAt();
        if (known == null || (age > HELD && answering)) {
            return askNow(question, known);
        }
        if (age > FRESH && mayAsk() && known.renewing().compareAndSet(false, true)) {
            askAside(question, known);
        }
        return known.result();
    }

    private boolean mayAsk() {
        return answering || System.nanoTime() - restsUntil > 0;
    }

    private AuthorizationResult askNow(Question question, Decision known) {
        if (mayAsk()) {
            try {
                return note(question, aws.ask(ROUTE, question.parameters()));
            } catch (InterruptedException interrupted) {
                Thread.currentThread().interrupt();
            } catch (IOException broken) {
                noteSilence(broken);
            }
        }
        return known == null ? AuthorizationResult.DENIED : known.result();
    }

    private void askAside(Question question, Decision known) {
        aws.askAside(ROUTE, question.parameters()).whenComplete((answer, broken) -> {
            if (broken == null) {
                note(question, answer);
            } else {
                noteSilence(broken);
                known.renewing().set(false);
            }
        });
    }

    private AuthorizationResult note(Question question, EmulatedAws.Answer answer) {
        answering = true;
        if (!answer.accepted() && question.told()) {
            LOG.info("Denied: {}", answer.error());
        }
        if (decisions.size() >= MOST) {
            decisions.clear();
        }
        AuthorizationResult result = answer.accepted() ? AuthorizationResult.ALLOWED : AuthorizationResult.DENIED;
        decisions.put(question, new Decision(result, System.nanoTime(), new AtomicBoolean()));
        return result;
    }

    private void noteSilence(Throwable broken) {
        restsUntil = System.nanoTime() + REST;
        if (answering) {
            LOG.warn("The AWS endpoint that knows what a client may do does not answer: {}", broken.toString());
        }
        answering = false;
    }
}
