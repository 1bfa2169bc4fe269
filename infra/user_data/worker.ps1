# A worker node: it comes and goes, and its data disk with it. It is in service once its node is Up.
param([Parameter(Mandatory)] [pscustomobject] $Settings)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'common.ps1')
. (Join-Path $PSScriptRoot 'fabric.ps1')

$script:JoinSeconds = 1800
$instance = Get-NodeMetadata 'instance-id'
$hook = @{
    AutoScalingGroupName = $Settings.group
    LifecycleHookName    = $Settings.hook
    InstanceId           = $instance
    Region               = $Settings.region
}
$script:LastSign = Get-Date
$script:WhileWaiting = {
    if (((Get-Date) - $script:LastSign).TotalSeconds -gt 60) {
        Write-ASLifecycleActionHeartbeat @hook | Out-Null
        $script:LastSign = Get-Date
    }
}

function Select-Domain {
    # The fault domain of this zone, and the upgrade domain, with the fewest nodes.
    param([Parameter(Mandatory)] [string] $Zone)
    $nodes = @(Get-ServiceFabricNode)
    $fault = 0, 1 | ForEach-Object { "fd:/$Zone/$_" } | Sort-Object -Property {
        $domain = $_
        @($nodes | Where-Object { [string] $_.FaultDomain -eq $domain }).Count
    } | Select-Object -First 1
    $upgrade = 0..4 | ForEach-Object { "UD$_" } | Sort-Object -Property {
        $domain = $_
        @($nodes | Where-Object { $_.UpgradeDomain -eq $domain }).Count
    } | Select-Object -First 1
    return $fault, $upgrade
}

function Join-Cluster {
    # Adds this machine under a name that nobody else can have, and has the configuration follow.
    param([Parameter(Mandatory)] [string] $Node)
    $seeds = @(Wait-Until 'a seed answers' -Seconds $script:JoinSeconds { Find-Seed -Settings $Settings })
    Import-Cmdlets -Settings $Settings
    Connect-Cluster -Settings $Settings -Addresses $seeds
    $version = Get-ClusterVersion
    $scripts = Get-Scripts -Settings $Settings -Version $version
    $cabinet = Get-Cabinet -Settings $Settings -Version $version
    $thumbprint = (Get-NodeCertificate -Settings $Settings).Thumbprint
    $address = Get-NodeMetadata 'local-ipv4'
    $fault, $upgrade = Select-Domain -Zone (Get-NodeMetadata 'placement/availability-zone')
    $arguments = @{
        NodeName                         = $Node
        NodeType                         = 'Worker'
        NodeIPAddressorFQDN              = $address
        ExistingClientConnectionEndpoint = "$($seeds[0]):$script:ClientPort"
        UpgradeDomain                    = $upgrade
        FaultDomain                      = $fault
        X509Credential                   = $true
        ServerCertThumbprint             = $thumbprint
        FindValueThumbprint              = $thumbprint
        StoreLocation                    = 'LocalMachine'
        StoreName                        = 'My'
        FabricRuntimePackagePath         = $cabinet
        AcceptEULA                       = $true
    }
    # Refused while an upgrade goes on, such as the one that follows the worker before this one.
    Invoke-Again "$Node joins" -Seconds $script:JoinSeconds {
        if (-not (Get-ServiceFabricNode -NodeName $Node)) {
            & (Join-Path $scripts 'AddNode.ps1') @arguments | Out-Host
        }
    }
    Wait-Until "$Node is Up" -Seconds $script:JoinSeconds { Test-NodeUp -Node $Node } | Out-Null
    Sync-Configuration -Node $Node
    Wait-Until "$Node is Up" { Test-NodeUp -Node $Node } | Out-Null
}

try {
    Mount-DataDisk -Letter 'D'
    if (-not (Initialize-Node -Settings $Settings)) { throw 'the secrets have no values: form the cluster first' }
    $node = 'worker-' + ($instance -replace '^i-', '')
    # Before it joins: whatever happens from now on, this machine and its node are found by each other.
    Invoke-Again 'the tag' {
        New-EC2Tag -Resource $instance -Tag @{ Key = 'node'; Value = $node } -Region $Settings.region
    }
    Set-NodeEnvironment -InstanceId $instance -Region $Settings.region
    Join-Cluster -Node $node
    Complete-ASLifecycleAction @hook -LifecycleActionResult CONTINUE | Out-Null
}
catch {
    $reason = "this machine gives up joining: $($_.Exception.Message)"
    New-EventLog -LogName Application -Source fleetstream -ErrorAction SilentlyContinue
    Write-EventLog -LogName Application -Source fleetstream -EventId 1 -EntryType Error -Message $reason
    Write-Output $reason
    Complete-ASLifecycleAction @hook -LifecycleActionResult ABANDON | Out-Null
    throw
}
