# What nodes of every kind do when they start. It holds no secret: what is secret is fetched with the node's role.
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

$script:Metadata = 'http://169.254.169.254/latest'
$script:WaitSeconds = 300

function Get-NodeMetadata {
    # One value of the instance metadata service, version 2.
    param([Parameter(Mandatory)] [string] $Name)
    $lifetime = @{ 'X-aws-ec2-metadata-token-ttl-seconds' = '300' }
    $token = Invoke-RestMethod -Method Put -Uri "$script:Metadata/api/token" -Headers $lifetime
    $headers = @{ 'X-aws-ec2-metadata-token' = $token }
    return Invoke-RestMethod -Uri "$script:Metadata/meta-data/$Name" -Headers $headers
}

function Wait-Until {
    # Asks again until the block answers with something.
    param([Parameter(Mandatory)] [string] $What, [Parameter(Mandatory)] [scriptblock] $Probe)
    $deadline = (Get-Date).AddSeconds($script:WaitSeconds)
    while ($true) {
        $found = & $Probe
        if ($found) { return $found }
        if ((Get-Date) -gt $deadline) { throw "${What}: not within $script:WaitSeconds s" }
        Start-Sleep -Seconds 5
    }
}

function Set-NodeEnvironment {
    # The instance's tags as variables of the machine: cluster -> FLEETSTREAM_CLUSTER.
    param([Parameter(Mandatory)] [string] $InstanceId, [Parameter(Mandatory)] [string] $Region)
    $filter = @{ Name = 'resource-id'; Values = $InstanceId }
    foreach ($tag in Get-EC2Tag -Filter $filter -Region $Region) {
        if ($tag.Key -like 'aws:*') { continue }
        $name = 'FLEETSTREAM_' + ($tag.Key.ToUpperInvariant() -replace '[^A-Z0-9]', '_')
        [Environment]::SetEnvironmentVariable($name, $tag.Value, 'Machine')
    }
}

function Connect-DataVolume {
    # The persistent volume of this seed: found by its tags, attached when it is free.
    param(
        [Parameter(Mandatory)] [string] $InstanceId,
        [Parameter(Mandatory)] [string] $Region,
        [Parameter(Mandatory)] [string] $Cluster,
        [Parameter(Mandatory)] [string] $Node
    )
    $filter = @(
        @{ Name = 'tag:cluster'; Values = $Cluster },
        @{ Name = 'tag:node'; Values = $Node },
        @{ Name = 'tag:role'; Values = 'seed-data' }
    )
    $volume = Get-EC2Volume -Filter $filter -Region $Region | Select-Object -First 1
    if (-not $volume) { throw "no volume is tagged for $Node of $Cluster" }
    $attached = $volume.Attachments | Where-Object { $_.InstanceId -eq $InstanceId }
    if (-not $attached) {
        # The instance before this one may still be letting go of it.
        Wait-Until "volume $($volume.VolumeId) is free" {
            (Get-EC2Volume -VolumeId $volume.VolumeId -Region $Region).State -eq 'available'
        } | Out-Null
        Add-EC2Volume -VolumeId $volume.VolumeId -InstanceId $InstanceId -Device 'xvdf' -Region $Region | Out-Null
    }
    return $volume.VolumeId
}

function Mount-DataDisk {
    # The data disk as a drive. A disk that holds data already is brought online and never formatted.
    param([Parameter(Mandatory)] [char] $Letter, [string] $VolumeId = '')
    $serial = $VolumeId -replace '-', ''
    $disk = Wait-Until 'the data disk shows up' {
        Get-Disk | Where-Object { -not $_.IsBoot -and (-not $serial -or $_.SerialNumber -like "$serial*") } |
            Sort-Object -Property Number | Select-Object -First 1
    }
    if ($disk.IsOffline) { Set-Disk -Number $disk.Number -IsOffline $false }
    if ($disk.IsReadOnly) { Set-Disk -Number $disk.Number -IsReadOnly $false }
    if ($disk.PartitionStyle -eq 'RAW') {
        Initialize-Disk -Number $disk.Number -PartitionStyle GPT
        New-Partition -DiskNumber $disk.Number -UseMaximumSize -DriveLetter $Letter |
            Format-Volume -FileSystem NTFS -NewFileSystemLabel 'data' -Confirm:$false | Out-Null
        return
    }
    $partition = Get-Partition -DiskNumber $disk.Number | Where-Object { $_.Type -eq 'Basic' } | Select-Object -First 1
    if ($partition.DriveLetter -ne $Letter) {
        Set-Partition -DiskNumber $disk.Number -PartitionNumber $partition.PartitionNumber -NewDriveLetter $Letter
    }
}

function Install-NodeCertificate {
    # The cluster's certificate: a PFX as a binary secret, whose private key cannot be exported again.
    param([Parameter(Mandatory)] [string] $SecretId, [Parameter(Mandatory)] [string] $Region)
    $secret = Get-SECSecretValue -SecretId $SecretId -Region $Region
    $flags = [Security.Cryptography.X509Certificates.X509KeyStorageFlags]'MachineKeySet, PersistKeySet'
    $bytes = $secret.SecretBinary.ToArray()
    $certificate = New-Object Security.Cryptography.X509Certificates.X509Certificate2 -ArgumentList $bytes, '', $flags
    $store = New-Object Security.Cryptography.X509Certificates.X509Store -ArgumentList 'My', 'LocalMachine'
    $store.Open('ReadWrite')
    try { $store.Add($certificate) } finally { $store.Close() }
}
