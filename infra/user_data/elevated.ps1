# Runs one of Microsoft's scripts as whoever this runs as, with what is written for it, and tells of it in a file.
param([Parameter(Mandatory)] [string] $Order, [Parameter(Mandatory)] [string] $Log)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

$wanted = Get-Content -Path $Order -Raw | ConvertFrom-Json
$arguments = @{}
foreach ($argument in $wanted.arguments.PSObject.Properties) { $arguments[$argument.Name] = $argument.Value }
Start-Transcript -Path $Log -Force | Out-Null
try {
    $answer = @(& $wanted.script @arguments)
    $answer | Out-String | Out-Host
    # TestConfiguration.ps1 does not fail, it says so.
    $refused = @($answer | Where-Object { $_.PSObject.Properties['Passed'] -and -not $_.Passed })
    if ($refused.Count -gt 0) { throw 'not passed' }
}
catch {
    $_ | Out-String | Out-Host
    exit 1
}
finally {
    Stop-Transcript | Out-Null
}
