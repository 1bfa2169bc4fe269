# A seed node: its address and its data disk are older than the machine, and outlive it.
param([Parameter(Mandatory)] [pscustomobject] $Settings)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'common.ps1')

$instance = Get-NodeMetadata 'instance-id'
Set-NodeEnvironment -InstanceId $instance -Region $Settings.region
$volume = Connect-DataVolume -InstanceId $instance -Region $Settings.region -Cluster $Settings.cluster -Node $Settings.node
Mount-DataDisk -Letter 'D' -VolumeId $volume
if ($Settings.certificate) {
    Install-NodeCertificate -SecretId $Settings.certificate -Region $Settings.region
}
