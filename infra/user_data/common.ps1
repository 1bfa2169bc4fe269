# What nodes of every kind do when they start. It holds no secret: what is secret is fetched with the node's role.
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

$script:Metadata = 'http://169.254.169.254/latest'
$script:Folder = Join-Path $env:ProgramData 'fleetstream'
$script:WhileWaiting = { $null }

function Get-NodeMetadata {
    # One value of the instance metadata service, version 2.
    param([Parameter(Mandatory)] [string] $Name)
    $lifetime = @{ 'X-aws-ec2-metadata-token-ttl-seconds' = '300' }
    $token = Invoke-RestMethod -Method Put -Uri "$script:Metadata/api/token" -Headers $lifetime
    $headers = @{ 'X-aws-ec2-metadata-token' = $token }
    return Invoke-RestMethod -Uri "$script:Metadata/meta-data/$Name" -Headers $headers
}

function Wait-Until {
    # Asks again until the block answers with something; meanwhile whoever waits for this node may get a sign of life.
    param(
        [Parameter(Mandatory)] [string] $What,
        [Parameter(Mandatory)] [scriptblock] $Probe,
        [int] $Seconds = 300
    )
    $deadline = (Get-Date).AddSeconds($Seconds)
    while ($true) {
        $found = & $Probe
        if ($found) { return $found }
        if ((Get-Date) -gt $deadline) { throw "${What}: not within $Seconds s" }
        & $script:WhileWaiting
        Start-Sleep -Seconds 5
    }
}

function Invoke-Again {
    # Does something that may fail for a while, such as during an upgrade. The last failure is the caller's.
    param(
        [Parameter(Mandatory)] [string] $What,
        [Parameter(Mandatory)] [scriptblock] $Action,
        [int] $Seconds = 300
    )
    $deadline = (Get-Date).AddSeconds($Seconds)
    $pause = 2
    while ($true) {
        try { return & $Action }
        catch {
            if ((Get-Date) -gt $deadline) { throw }
            Write-Output "${What}: $($_.Exception.Message): again in $pause s" | Out-Host
        }
        & $script:WhileWaiting
        Start-Sleep -Seconds $pause
        $pause = [Math]::Min(2 * $pause, 30)
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
    $partition = Get-Partition -DiskNumber $disk.Number |
        Where-Object { $_.Type -eq 'Basic' } | Select-Object -First 1
    if ($partition.DriveLetter -ne $Letter) {
        Set-Partition -DiskNumber $disk.Number -PartitionNumber $partition.PartitionNumber -NewDriveLetter $Letter
    }
}

function Get-SecretOrNothing {
    # A secret's value; nothing while bootstrap has put none.
    param([Parameter(Mandatory)] [string] $SecretId, [Parameter(Mandatory)] [string] $Region)
    Invoke-Again "secret $SecretId" {
        try { Get-SECSecretValue -SecretId $SecretId -Region $Region }
        catch {
            # The tools wrap what the service says.
            if ($_.Exception.GetBaseException().GetType().Name -ne 'ResourceNotFoundException') { throw }
        }
    }
}

function Get-Administrator {
    # Name and password of the local administrator that all seeds share; nothing while there is none.
    param([Parameter(Mandatory)] [pscustomobject] $Settings)
    $secret = Get-SecretOrNothing -SecretId $Settings.administrator -Region $Settings.region
    if (-not $secret) { return $null }
    $account = $secret.SecretString | ConvertFrom-Json
    return New-Object Net.NetworkCredential -ArgumentList $account.username, $account.password
}

function Set-Administrator {
    # The account itself, with the password of today: after a rotation this is run once more.
    param([Parameter(Mandatory)] [Net.NetworkCredential] $Account)
    $name = $Account.UserName
    if (Get-LocalUser -Name $name -ErrorAction SilentlyContinue) {
        Set-LocalUser -Name $name -Password $Account.SecurePassword -PasswordNeverExpires $true
    }
    else {
        New-LocalUser -Name $name -Password $Account.SecurePassword -PasswordNeverExpires -AccountNeverExpires |
            Out-Null
    }
    $administrators = 'S-1-5-32-544'
    $member = "$env:COMPUTERNAME\$name"
    if (-not (Get-LocalGroupMember -SID $administrators | Where-Object { $_.Name -eq $member })) {
        Add-LocalGroupMember -SID $administrators -Member $name
    }
}

function Enable-RemoteSetup {
    # The seed that forms the cluster installs the others: over SMB, the registry and the service manager.
    Set-Service -Name RemoteRegistry -StartupType Automatic
    Start-Service -Name RemoteRegistry
    # File and printer sharing, and remote service management, whatever the system's language.
    foreach ($group in '@FirewallAPI.dll,-28502', '@FirewallAPI.dll,-29502') {
        Enable-NetFirewallRule -Group $group
    }
    # Without it a local account is no administrator when it comes over the network.
    $policies = 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System'
    Set-ItemProperty -Path $policies -Name LocalAccountTokenFilterPolicy -Value 1 -Type DWord
}

function Install-NodeCertificate {
    # The certificate, whose private key cannot be exported again, and the authority that issued it.
    param([Parameter(Mandatory)] [byte[]] $Pfx)
    $flags = [Security.Cryptography.X509Certificates.X509KeyStorageFlags]'MachineKeySet, PersistKeySet'
    $found = New-Object Security.Cryptography.X509Certificates.X509Certificate2Collection
    $found.Import($Pfx, '', $flags)
    foreach ($certificate in $found) {
        $store = if ($certificate.HasPrivateKey) { 'My' } else { 'Root' }
        $place = New-Object Security.Cryptography.X509Certificates.X509Store -ArgumentList $store, 'LocalMachine'
        $place.Open('ReadWrite')
        try { $place.Add($certificate) } finally { $place.Close() }
        if ($certificate.HasPrivateKey) { Grant-PrivateKey -Certificate $certificate }
    }
}

function Grant-PrivateKey {
    # Service Fabric runs as Network Service, which has to read the key.
    param([Parameter(Mandatory)] [Security.Cryptography.X509Certificates.X509Certificate2] $Certificate)
    $key = [Security.Cryptography.X509Certificates.RSACertificateExtensions]::GetRSAPrivateKey($Certificate)
    $name = $key.Key.UniqueName
    $file = 'Microsoft\Crypto\Keys', 'Microsoft\Crypto\RSA\MachineKeys' |
        ForEach-Object { Join-Path $env:ProgramData (Join-Path $_ $name) } |
        Where-Object { Test-Path -Path $_ } | Select-Object -First 1
    if (-not $file) { throw "the private key of $($Certificate.Subject) has no file" }
    $reader = New-Object Security.Principal.SecurityIdentifier -ArgumentList 'S-1-5-20'
    $access = Get-Acl -Path $file
    $rule = New-Object Security.AccessControl.FileSystemAccessRule -ArgumentList $reader, 'Read', 'Allow'
    $access.AddAccessRule($rule)
    Set-Acl -Path $file -AclObject $access
}

function Initialize-Node {
    # All that a node needs before Service Fabric. Says whether the secrets had values.
    param([Parameter(Mandatory)] [pscustomobject] $Settings)
    Enable-RemoteSetup
    $account = Get-Administrator -Settings $Settings
    if ($account) { Set-Administrator -Account $account }
    $secret = Get-SecretOrNothing -SecretId $Settings.certificate -Region $Settings.region
    if ($secret) { Install-NodeCertificate -Pfx $secret.SecretBinary.ToArray() }
    return [bool] ($account -and $secret)
}
