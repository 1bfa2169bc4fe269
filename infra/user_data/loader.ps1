# User data of every node: fetches the scripts of its kind, runs nothing that is not what the program published.
# User data is at most 16 KB; the scripts are objects that the node's role may read.
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

$settings = '{{settings}}' | ConvertFrom-Json
$folder = Join-Path $env:ProgramData 'fleetstream'
New-Item -ItemType Directory -Path $folder -Force | Out-Null
Start-Transcript -Path (Join-Path $folder 'loader.log') -Append | Out-Null

try {
    # For what is run later, such as by Run Command. Names and addresses of secrets only.
    $settings | ConvertTo-Json -Depth 5 | Set-Content -Path (Join-Path $folder 'settings.json') -Encoding UTF8
    foreach ($script in $settings.scripts) {
        $path = Join-Path $folder $script.name
        # The instance's role signs this; the tools ask for it with a session token (IMDSv2).
        Read-S3Object -BucketName $settings.bucket -Key $script.key -File $path -Region $settings.region | Out-Null
        $found = (Get-FileHash -Path $path -Algorithm SHA256).Hash
        if ($found -ne $script.sha256) {
            Remove-Item -Path $path -Force
            throw "$($script.name) is not what was published: SHA-256 $found instead of $($script.sha256)"
        }
    }
    & (Join-Path $folder $settings.start) -Settings $settings
}
finally {
    Stop-Transcript | Out-Null
}
