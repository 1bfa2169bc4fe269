#!/usr/bin/env bash
# Deploys an application package to a Service Fabric cluster, and waits until it is Ready and healthy.
#
# TOOLS          the environment that tools.sh made
# PACKAGE        the package's folder
# APPLICATION    the application's name below fabric:/
# PARAMETERS     its parameters, as a JSON object
# ENDPOINT       the cluster's HTTP gateway, https://<management or public address>:19080
# CLIENT_SECRET  the secret with the admin client's certificate; read with the agent's own role
#
# What is deployed already is left alone. Exits 1 when a step fails, or when the application is not Ready in the
# version asked for after WAIT_SECONDS; an upgrade that fails is rolled back by the cluster.
set -euo pipefail
: "${TOOLS:?}" "${PACKAGE:?}" "${APPLICATION:?}" "${PARAMETERS:?}" "${ENDPOINT:?}" "${CLIENT_SECRET:?}"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scratch=$(mktemp -d)
uploaded=
trap finish EXIT

finish() {
  code=$?
  if [ -n "$uploaded" ]; then
    sfctl store delete --content-path "$uploaded" || echo "warning: $uploaded is left in the image store" >&2
  fi
  rm -rf "$scratch"
  exit "$code"
}

sfctl() {
  # sfctl remembers the cluster and the certificate's path below HOME: both end with this run.
  HOME="$scratch" "$TOOLS/bin/python" "$here/sfctl_by_name.py" "$@"
}

manifest() {
  "$TOOLS/bin/python" -c 'import sys, xml.etree.ElementTree as tree
print(tree.parse(sys.argv[1]).getroot().attrib[sys.argv[2]])' "$PACKAGE/ApplicationManifest.xml" "$1"
}

versions() {
  sfctl application type --application-type-name "$type" --query "items[].version" --output tsv
}

say() {
  echo "deploy: $*"
}

type=$(manifest ApplicationTypeName)
version=$(manifest ApplicationTypeVersion)

"$TOOLS/bin/aws" secretsmanager get-secret-value --secret-id "$CLIENT_SECRET" --query SecretString --output text |
  "$TOOLS/bin/python" "$here/credentials.py" "$scratch"
FABRIC_SERVER_NAME=$(cat "$scratch/server-name")
export FABRIC_SERVER_NAME REQUESTS_CA_BUNDLE="$scratch/authority.pem"
sfctl cluster select --endpoint "$ENDPOINT" --pem "$scratch/client.pem" --ca "$scratch/authority.pem"

provisioned=$(versions)
if grep --quiet --line-regexp --fixed-strings "$version" <<<"$provisioned"; then
  say "$type $version is provisioned already"
else
  say "uploading $type $version"
  mkdir "$scratch/package"
  cp -r "$PACKAGE" "$scratch/package/$type-$version"
  uploaded=$type-$version
  sfctl application upload --path "$scratch/package/$uploaded" --compress \
    --compressed-location "$scratch/compressed" --timeout 3600
  sfctl application provision --application-type-build-path "$uploaded" --timeout 600
  sfctl store delete --content-path "$uploaded"
  uploaded=
fi

found=$(sfctl application info --application-id "$APPLICATION" --query typeVersion --output tsv)
if [ -z "$found" ]; then
  say "creating fabric:/$APPLICATION"
  sfctl application create --app-name "fabric:/$APPLICATION" --app-type "$type" --app-version "$version" \
    --parameters "$PARAMETERS"
elif told=$(sfctl application upgrade --application-id "$APPLICATION" --application-version "$version" \
  --parameters "$PARAMETERS" --mode Monitored --failure-action Rollback \
  --health-check-stable-duration PT0H1M0S 2>&1); then
  say "upgrading fabric:/$APPLICATION from $found to $version"
elif grep --quiet FABRIC_E_APPLICATION_ALREADY_IN_TARGET_VERSION <<<"$told"; then
  say "fabric:/$APPLICATION is of $version already"
else
  echo "$told" >&2
  exit 1
fi

say "waiting until it is Ready"
deadline=$((SECONDS + ${WAIT_SECONDS:-3600}))
until state=$(sfctl application info --application-id "$APPLICATION" \
  --query "[status, healthState, typeVersion] | join(' ', @)" --output tsv) && [ "$state" = "Ready Ok $version" ]; do
  if [[ $state == Ready\ * && $state != *" $version" ]]; then
    echo "error: fabric:/$APPLICATION was rolled back to ${state##* }: see sfctl application upgrade-status" >&2
    exit 1
  fi
  if [ "$SECONDS" -ge "$deadline" ]; then
    echo "error: fabric:/$APPLICATION is still: $state" >&2
    exit 1
  fi
  sleep "${POLL_SECONDS:-10}"
done

provisioned=$(versions)
for old in $provisioned; do
  if [ "$old" != "$version" ]; then
    say "removing $type $old"
    sfctl application unprovision --application-type-name "$type" --application-type-version "$old"
  fi
done
say "fabric:/$APPLICATION is Ready in version $version"
