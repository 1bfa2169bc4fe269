# Forms the cluster and changes its configuration: run on a seed by Systems Manager, one step at a time.
#   prepare  administrator, certificate and remote set-up of this seed, with the secrets' values of today
#   test     Microsoft's own check of a configuration, from the machines' point of view
#   create   makes the cluster that a configuration describes
#   upgrade  changes the cluster to a configuration that was made from its current one
param(
    [Parameter(Mandatory)] [ValidateSet('prepare', 'test', 'create', 'upgrade')] [string] $Step,
    [string] $Key = '',
    [string] $Version = ''
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'common.ps1')
. (Join-Path $PSScriptRoot 'fabric.ps1')

$settings = Get-Content -Path (Join-Path $script:Folder 'settings.json') -Raw | ConvertFrom-Json

function Get-WantedConfiguration {
    # One version of the stored configuration, as a file.
    if (-not $Key) { throw "step $Step needs the configuration's key (-Key)" }
    $path = Join-Path $script:Folder 'ClusterConfig.json'
    $object = @{ BucketName = $settings.bucket; Key = $Key; File = $path; Region = $settings.region }
    if ($Version) { $object['Version'] = $Version }
    Read-S3Object @object | Out-Null
    return $path
}

function Invoke-AsAdministrator {
    # Runs a script of Microsoft's as the local administrator that all seeds share. Systems Manager runs as the
    # machine itself, which is nobody on the other seeds; a task has the account's rights, on the network too.
    param([Parameter(Mandatory)] [string] $Script, [Parameter(Mandatory)] [hashtable] $Arguments)
    $account = Get-Administrator -Settings $settings
    if (-not $account) { throw 'the administrator has no value in Secrets Manager: run the bootstrap' }
    $name = "fleetstream-$Step"
    $log = Join-Path $script:Folder "$name.log"
    $order = Join-Path $script:Folder "$name.json"
    @{ script = $Script; arguments = $Arguments } | ConvertTo-Json | Set-Content -Path $order -Encoding UTF8
    $runner = Join-Path $PSScriptRoot 'elevated.ps1'
    $told = "-File `"$runner`" -Order `"$order`" -Log `"$log`""
    $action = @{
        Execute  = 'powershell.exe'
        Argument = "-NoProfile -NonInteractive -ExecutionPolicy Bypass $told"
    }
    $owner = @{ User = "$env:COMPUTERNAME\$($account.UserName)"; Password = $account.Password; RunLevel = 'Highest' }
    Register-ScheduledTask -TaskName $name -Action (New-ScheduledTaskAction @action) -Force @owner | Out-Null
    try {
        Start-ScheduledTask -TaskName $name
        Wait-Until "$name begins" { (Get-ScheduledTaskInfo -TaskName $name).LastRunTime.Year -gt 2000 } | Out-Null
        Wait-Until "$name ends" -Seconds $script:UpgradeSeconds {
            (Get-ScheduledTask -TaskName $name).State -ne 'Running'
        } | Out-Null
        $result = (Get-ScheduledTaskInfo -TaskName $name).LastTaskResult
    }
    finally {
        Unregister-ScheduledTask -TaskName $name -Confirm:$false
    }
    if (Test-Path -Path $log) { Get-Content -Path $log }
    if ($result -ne 0) { throw "$Script failed ($result): its output is above and in $log" }
}

switch ($Step) {
    'prepare' {
        if (-not (Initialize-Node -Settings $settings)) { throw 'the secrets have no values: run the bootstrap' }
    }
    'test' {
        $configuration = Get-WantedConfiguration
        $scripts = Get-Scripts -Settings $settings -Version $settings.version
        $cabinet = Get-Cabinet -Settings $settings -Version $settings.version
        Invoke-AsAdministrator -Script (Join-Path $scripts 'TestConfiguration.ps1') -Arguments @{
            ClusterConfigFilePath    = $configuration
            FabricRuntimePackagePath = $cabinet
        }
    }
    'create' {
        $configuration = Get-WantedConfiguration
        $scripts = Get-Scripts -Settings $settings -Version $settings.version
        $cabinet = Get-Cabinet -Settings $settings -Version $settings.version
        Invoke-AsAdministrator -Script (Join-Path $scripts 'CreateServiceFabricCluster.ps1') -Arguments @{
            ClusterConfigFilePath    = $configuration
            FabricRuntimePackagePath = $cabinet
            AcceptEULA               = $true
        }
    }
    'upgrade' {
        $configuration = Get-WantedConfiguration
        Import-Cmdlets -Settings $settings
        Connect-Cluster -Settings $settings -Addresses @(Get-NodeMetadata 'local-ipv4')
        Update-Configuration -Path $configuration
    }
}
"step $Step is done"
