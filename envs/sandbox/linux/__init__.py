"""The Linux machines of a sandbox: user data and commands really run, as processes of this machine."""
