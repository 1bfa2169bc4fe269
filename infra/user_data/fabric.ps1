# What nodes do with Service Fabric: fetch its packages, speak to the cluster, and change its configuration.
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

$script:DataRoot = 'D:\SF'
$script:LogRoot = 'D:\SF\Log'
$script:ClientPort = 19000
$script:UpgradeSeconds = 3600

function Get-Package {
    # A file of a version of Service Fabric, from the bucket: Microsoft's links change, and old versions go.
    param([Parameter(Mandatory)] [pscustomobject] $Settings, [Parameter(Mandatory)] [string] $Name)
    $file = Join-Path $script:Folder $Name
    if (Test-Path -Path $file) { return $file }
    $key = "$($Settings.packages)$Name"
    $part = "$file.part"
    try { Read-S3Object -BucketName $Settings.bucket -Key $key -File $part -Region $Settings.region | Out-Null }
    catch { throw "put Microsoft's file to s3://$($Settings.bucket)/${key}: $($_.Exception.Message)" }
    Move-Item -Path $part -Destination $file -Force
    return $file
}

function Get-Scripts {
    # Microsoft's scripts and cmdlets of a version, unpacked.
    param([Parameter(Mandatory)] [pscustomobject] $Settings, [Parameter(Mandatory)] [string] $Version)
    $target = Join-Path $script:Folder "fabric-$Version"
    if (Test-Path -Path (Join-Path $target 'DeploymentComponents')) { return $target }
    $zip = Get-Package -Settings $Settings -Name "Microsoft.Azure.ServiceFabric.WindowsServer.$Version.zip"
    Expand-Archive -Path $zip -DestinationPath $target -Force
    $extractor = Join-Path $target 'DeploymentComponentsAutoextractor.exe'
    $ran = Start-Process -FilePath $extractor -ArgumentList '/E', '/Y', '/L', "`"$target`"" -Wait -PassThru
    if ($ran.ExitCode -ne 0) { throw "$extractor ended with $($ran.ExitCode)" }
    return $target
}

function Get-Cabinet {
    # The runtime of a version: without it Microsoft's scripts would install the newest one.
    param([Parameter(Mandatory)] [pscustomobject] $Settings, [Parameter(Mandatory)] [string] $Version)
    return Get-Package -Settings $Settings -Name "MicrosoftAzureServiceFabric.$Version.cab"
}

function Import-Cmdlets {
    # The cluster's cmdlets, without an installation.
    param([Parameter(Mandatory)] [pscustomobject] $Settings)
    $scripts = Get-Scripts -Settings $Settings -Version $Settings.version
    Import-Module -Name (Join-Path $scripts 'DeploymentComponents\ServiceFabric.psd1') -Global
}

function Get-NodeCertificate {
    # The certificate of the cluster's nodes, the one that is valid longest.
    param([Parameter(Mandatory)] [pscustomobject] $Settings)
    $name = "CN=$($Settings.cluster)-node"
    $found = Get-ChildItem -Path 'Cert:\LocalMachine\My' |
        Where-Object { $_.HasPrivateKey -and ($_.Subject -split ',\s*') -contains $name } |
        Sort-Object -Property NotAfter -Descending | Select-Object -First 1
    if (-not $found) { throw "no certificate with $name is installed" }
    return $found
}

function Find-Seed {
    # Addresses of seeds that answer to clients.
    param([Parameter(Mandatory)] [pscustomobject] $Settings)
    $filter = @(
        @{ Name = 'tag:cluster'; Values = $Settings.cluster },
        @{ Name = 'tag:role'; Values = 'seed' },
        @{ Name = 'instance-state-name'; Values = 'running' }
    )
    foreach ($reservation in Get-EC2Instance -Filter $filter -Region $Settings.region) {
        foreach ($instance in $reservation.Instances) {
            $address = $instance.PrivateIpAddress
            $ask = @{ ComputerName = $address; Port = $script:ClientPort; InformationLevel = 'Quiet' }
            if ($address -and (Test-NetConnection @ask -WarningAction SilentlyContinue)) { $address }
        }
    }
}

function Connect-Cluster {
    # As an administrator: the nodes' own certificate is one. Servers are known by common name.
    param([Parameter(Mandatory)] [pscustomobject] $Settings, [Parameter(Mandatory)] [string[]] $Addresses)
    $name = "$($Settings.cluster)-node"
    $connection = @{
        ConnectionEndpoint = @($Addresses | ForEach-Object { "${_}:$script:ClientPort" })
        X509Credential     = $true
        ServerCommonName   = $name
        FindType           = 'FindBySubjectName'
        FindValue          = $name
        StoreLocation      = 'LocalMachine'
        StoreName          = 'My'
    }
    Invoke-Again 'the cluster answers' { Connect-ServiceFabricCluster @connection | Out-Null }
    # The cmdlets look for the connection in the scope that they are called from.
    $global:ClusterConnection = $ClusterConnection
}

function Get-ClusterVersion {
    # What the nodes that are Up run: a cluster that was upgraded is newer than what it was formed with.
    $node = Get-ServiceFabricNode | Where-Object { $_.NodeStatus -eq 'Up' } | Select-Object -First 1
    if (-not $node) { throw 'no node of the cluster is Up' }
    return $node.CodeVersion
}

function Test-NodeUp {
    # Whether the cluster counts a node as Up.
    param([Parameter(Mandatory)] [string] $Node)
    $found = Get-ServiceFabricNode -NodeName $Node
    return [bool] ($found -and $found.NodeStatus -eq 'Up')
}

function Get-Configuration {
    # The cluster's own current configuration, never a stored copy.
    return Get-ServiceFabricClusterConfiguration | ConvertFrom-Json
}

function Update-Configuration {
    # Upgrades the configuration and waits for the end. Refused while another upgrade goes on: the caller tries again.
    param([Parameter(Mandatory)] [string] $Path)
    Start-ServiceFabricClusterConfigurationUpgrade -ClusterConfigPath $Path | Out-Null
    $state = Wait-Until 'the configuration upgrade ends' -Seconds $script:UpgradeSeconds {
        $now = [string] (Get-ServiceFabricClusterConfigurationUpgradeStatus).UpgradeState
        if ($now -match '^(RollingForwardCompleted|RollingBackCompleted|Failed)$') { $now }
    }
    if ($state -ne 'RollingForwardCompleted') { throw "the configuration upgrade ended with $state" }
}

function Get-NextConfiguration {
    # The current configuration under the version after its own, without what only the last upgrade meant.
    $next = Get-Configuration
    $version = $next.ClusterConfigurationVersion -split '\.'
    $version[-1] = [string] ([int] $version[-1] + 1)
    $next.ClusterConfigurationVersion = $version -join '.'
    foreach ($section in $next.Properties.FabricSettings) {
        $section.Parameters = @($section.Parameters | Where-Object { $_.Name -ne 'NodesToBeRemoved' })
    }
    return $next
}

function Get-AppliedNode {
    # The names of the nodes that the last applied configuration lists. Get-ServiceFabricClusterConfiguration does not
    # tell: it lists the nodes of the moment, those that have joined and not those that have been removed.
    $manifest = [xml] (Get-ServiceFabricClusterManifest)
    return @($manifest.ClusterManifest.Infrastructure.WindowsServer.NodeList.Node | ForEach-Object { $_.NodeName })
}

function Set-RemovedNode {
    # Names the nodes that a configuration leaves out, as the product wants them named.
    param([Parameter(Mandatory)] [pscustomobject] $Configuration, [Parameter(Mandatory)] [string[]] $Names)
    $removed = [pscustomobject] @{ Name = 'NodesToBeRemoved'; Value = ($Names | Sort-Object) -join ',' }
    $setup = $Configuration.Properties.FabricSettings | Where-Object { $_.Name -eq 'Setup' } | Select-Object -First 1
    $setup.Parameters = @($setup.Parameters) + $removed
}

function Sync-Configuration {
    # AddNode alone leaves configuration and cluster different, and the next upgrade would fail of it: the next
    # configuration lists exactly the nodes there are. One upgrade serves all that have joined before it.
    param([Parameter(Mandatory)] [string] $Node)
    Invoke-Again 'the configuration has the node' -Seconds $script:UpgradeSeconds {
        $applied = @(Get-AppliedNode)
        if ($applied -contains $Node) { return }
        $next = Get-NextConfiguration
        $live = @($next.Nodes | ForEach-Object { $_.NodeName })
        $gone = @($applied | Where-Object { $live -notcontains $_ })
        if ($gone.Count -gt 0) { Set-RemovedNode -Configuration $next -Names $gone }
        $path = Join-Path $script:Folder 'NextConfiguration.json'
        $next | ConvertTo-Json -Depth 32 | Set-Content -Path $path -Encoding UTF8
        Update-Configuration -Path $path
    }
}
