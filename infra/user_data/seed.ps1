# A seed node: its address and its data disk are older than the machine, and outlive it. The disk is attached from
# outside, before the machine counts as in service.
param([Parameter(Mandatory)] [pscustomobject] $Settings)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'common.ps1')
. (Join-Path $PSScriptRoot 'fabric.ps1')

$script:Manifests = Join-Path $script:Folder 'manifests'

function Get-DataVolume {
    # The data disk of this seed, once it is attached to this machine.
    param([Parameter(Mandatory)] [string] $InstanceId)
    $filter = @(
        @{ Name = 'attachment.instance-id'; Values = $InstanceId },
        @{ Name = 'attachment.status'; Values = 'attached' },
        @{ Name = 'tag:cluster'; Values = $Settings.cluster },
        @{ Name = 'tag:node'; Values = $Settings.node },
        @{ Name = 'tag:role'; Values = 'seed-data' }
    )
    return Wait-Until "the disk of $($Settings.node) is attached" -Seconds 900 {
        Get-EC2Volume -Filter $filter -Region $Settings.region | Select-Object -First 1
    }
}

function Save-Manifest {
    # What the node knew of itself and of its cluster, kept aside; says whether there was anything.
    $own = Join-Path $script:DataRoot "$($Settings.node)\Fabric"
    $wanted = @{
        'ClusterManifest.xml'        = Join-Path $own 'ClusterManifest.current.xml'
        'InfrastructureManifest.xml' = Join-Path $own 'Fabric.Data\InfrastructureManifest.xml'
    }
    New-Item -ItemType Directory -Path $script:Manifests -Force | Out-Null
    foreach ($name in $wanted.Keys) {
        if (-not (Test-Path -Path $wanted[$name])) { return $false }
        Copy-Item -Path $wanted[$name] -Destination (Join-Path $script:Manifests $name) -Force
    }
    return $true
}

function Clear-StaleData {
    # Replicas from a snapshot are older than the cluster: the node starts without any. Once a snapshot, as what the
    # node has afterwards is new.
    param([Parameter(Mandatory)] [Amazon.EC2.Model.Volume] $Volume)
    $tag = $Volume.Tags | Where-Object { $_.Key -eq 'restored-from' } | Select-Object -First 1
    if (-not $tag) { return }
    $mark = "D:\emptied-after-$($tag.Value)"
    if (Test-Path -Path $mark) { return }
    if (Test-Path -Path $script:DataRoot) { Remove-Item -Path $script:DataRoot -Recurse -Force }
    New-Item -ItemType File -Path $mark -Force | Out-Null
}

function Restore-Node {
    # Makes this machine the node that the one before was: same version, same configuration, same data root.
    $version = $Settings.version
    $others = @(Find-Seed -Settings $Settings)
    if ($others.Count -gt 0) {
        Import-Cmdlets -Settings $Settings
        Connect-Cluster -Settings $Settings -Addresses $others
        $version = Get-ClusterVersion
        # The cluster may have been reconfigured while this node was away.
        Get-ServiceFabricClusterManifest |
            Set-Content -Path (Join-Path $script:Manifests 'ClusterManifest.xml') -Encoding UTF8
    }
    $setup = Get-Package -Settings $Settings -Name "MicrosoftServiceFabric.$version.exe"
    $ran = Start-Process -FilePath $setup -ArgumentList '/accepteula', '/force', '/quiet' -Wait -PassThru
    if ($ran.ExitCode -ne 0) { throw "$setup ended with $($ran.ExitCode)" }
    $installed = Join-Path $env:ProgramFiles 'Microsoft Service Fabric\bin\ServiceFabric\ServiceFabric.psd1'
    Import-Module -Name $installed -Global -Force
    New-Item -ItemType Directory -Path $script:LogRoot -Force | Out-Null
    $node = @{
        ClusterManifest        = Join-Path $script:Manifests 'ClusterManifest.xml'
        InfrastructureManifest = Join-Path $script:Manifests 'InfrastructureManifest.xml'
        FabricDataRoot         = $script:DataRoot
        FabricLogRoot          = $script:LogRoot
    }
    New-ServiceFabricNodeConfiguration @node | Out-Null
    Start-Service -Name FabricHostSvc
    if ($others.Count -gt 0) {
        Wait-Until "$($Settings.node) is Up" -Seconds 1800 { Test-NodeUp -Node $Settings.node } | Out-Null
    }
}

$instance = Get-NodeMetadata 'instance-id'
Set-NodeEnvironment -InstanceId $instance -Region $Settings.region
$volume = Get-DataVolume -InstanceId $instance
Mount-DataDisk -Letter 'D' -VolumeId $volume.VolumeId
$formed = Save-Manifest
Clear-StaleData -Volume $volume
# Before the cluster is formed the secrets have no values: bootstrap has this done again (form.ps1 -Step prepare).
$prepared = Initialize-Node -Settings $Settings
if ($formed) {
    if (-not $prepared) { throw "$($Settings.node) is of a cluster, and the secrets have no values: put them back" }
    Restore-Node
}
