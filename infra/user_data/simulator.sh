#!/bin/bash
# User data of a simulator host: fetches the simulator that the program published, and makes the command that runs it.
# cloud-init starts it in /: every path is relative to that.
set -euo pipefail

# Whoever waits for the command finds one, whatever happens: one that says what did.
failed() {
    mkdir -p usr/local/bin
    printf '#!/bin/bash\necho "the user data failed: /var/log/cloud-init-output.log" >&2\nexit 1\n' > usr/local/bin/failed.new
    chmod 755 usr/local/bin/failed.new
    mv usr/local/bin/failed.new usr/local/bin/fleetstream-host
}
trap failed ERR

# Amazon Linux 2023 is on Python 3.9; chrony keeps its clock, by the Amazon Time Sync Service.
dnf install --assumeyes --quiet python3.11 amazon-efs-utils

mkdir -p opt/fleetstream mnt/fleetstream usr/local/bin
mount -t efs -o tls,iam,accesspoint={{access_point}} {{file_system}}:/ mnt/fleetstream

aws s3 cp --only-show-errors --region {{region}} s3://{{bucket}}/{{key}} opt/fleetstream/simulator.zip
if ! echo '{{sha256}}  opt/fleetstream/simulator.zip' | sha256sum --check --status; then
    echo 's3://{{bucket}}/{{key}} is not what was published' >&2
    rm opt/fleetstream/simulator.zip
    false
fi
python3.11 -m zipfile -e opt/fleetstream/simulator.zip opt/fleetstream/simulator
rm opt/fleetstream/simulator.zip

cat > usr/local/bin/fleetstream-host.new <<'COMMAND'
#!/bin/bash
# One host's part of a load: fleetstream-host s3://BUCKET/simulations/RUN
root=$(cd "$(dirname "$0")/../../.." && pwd)
export AWS_REGION={{region}} FLEETSTREAM_SHARED="$root/mnt/fleetstream"
cd "$root/opt/fleetstream/simulator"
exec python3.11 -B -m services.simulator.host "$@"
COMMAND
chmod 755 usr/local/bin/fleetstream-host.new
# Whole or not at all: whoever waits for the command may use it.
mv usr/local/bin/fleetstream-host.new usr/local/bin/fleetstream-host
