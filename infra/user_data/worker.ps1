# A worker node: it comes and goes, and its data disk with it.
param([Parameter(Mandatory)] [pscustomobject] $Settings)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'common.ps1')

Set-NodeEnvironment -InstanceId (Get-NodeMetadata 'instance-id') -Region $Settings.region
Mount-DataDisk -Letter 'D'
if ($Settings.certificate) {
    Install-NodeCertificate -SecretId $Settings.certificate -Region $Settings.region
}
