"""EC2: prefix lists that keep to their size, and that count with it in the quota of every group that names them.

VPC User Guide, "Work with customer-managed prefix lists" and "Amazon VPC quotas" (security groups); EC2 API
Reference, CreateManagedPrefixList, ModifyManagedPrefixList, DeleteManagedPrefixList.
"""

from collections.abc import Iterator
from typing import Any, Final

from moto.ec2.exceptions import EC2ClientError, RulesPerSecurityGroupLimitExceededError
from moto.ec2.models import EC2Backend
from moto.ec2.models.managed_prefixes import ManagedPrefixList

_RULES: Final = 60
"""Rules a security group may have in each direction ("Amazon VPC quotas")."""
_LARGEST: Final = 1000
_AT_ONCE: Final = 100
_WEIGHTS: Final = {"cloudfront.origin-facing": 55, "groundstation": 5, "vpc-lattice": 10}
"""What AWS's own lists count; others count 1 ("AWS-managed prefix list weight")."""

Entries = list[dict[str, str]]


class PrefixLists(EC2Backend):
    """moto's prefix lists, with what AWS refuses of them."""

    def create_managed_prefix_list(
        self,
        address_family: str | None = None,
        entry: Entries | None = None,
        max_entries: Any = None,
        *arguments: Any,
        owner_id: str | None = None,
        **options: Any,
    ) -> ManagedPrefixList:
        if owner_id is None:
            _check_size(max_entries)
            _check_entries(entry or [], entry or [], int(max_entries))
        return super().create_managed_prefix_list(
            address_family, entry, max_entries, *arguments, owner_id=owner_id, **options
        )

    def describe_managed_prefix_lists(
        self, prefix_list_ids: list[str] | None = None, filters: Any = None
    ) -> list[ManagedPrefixList]:
        for each in prefix_list_ids or []:
            self._list(each)
        return super().describe_managed_prefix_lists(prefix_list_ids, filters)

    def modify_managed_prefix_list(
        self,
        add_entry: Entries,
        remove_entry: Entries,
        prefix_list_id: str | None = None,
        current_version: Any = None,
        prefix_list_name: str | None = None,
        max_entries: Any = None,
    ) -> ManagedPrefixList:
        found = self._list(str(prefix_list_id))
        if current_version is not None and int(current_version) != found.version:
            raise EC2ClientError(
                "PrefixListVersionMismatch", f"The prefix list is at version {found.version}, not {current_version}"
            )
        if max_entries is not None:
            if add_entry or remove_entry:
                raise EC2ClientError("InvalidParameterCombination", "Entries and size cannot be modified at once")
            self._resize(found, max_entries)
        elif add_entry or remove_entry:
            _modify_entries(found, add_entry, remove_entry)
        if prefix_list_name:
            found.prefix_list_name = prefix_list_name
        return found

    def delete_managed_prefix_list(self, prefix_list_id: str) -> ManagedPrefixList:
        found = self._list(prefix_list_id)
        if users := self._users(prefix_list_id):
            # AWS takes the call, and tells the failure as a state.
            found.state = "delete-failed"
            found.state_message = f"The prefix list is referenced by [{', '.join(users)}]"  # type: ignore[assignment]
        else:
            found.state = "delete-in-progress"
            del self.managed_prefix_lists[prefix_list_id]
        return found

    def authorize_security_group_ingress(self, *arguments: Any, **options: Any) -> Any:
        self._check_quota("ingress_rules", options)
        return super().authorize_security_group_ingress(*arguments, **options)

    def authorize_security_group_egress(self, *arguments: Any, **options: Any) -> Any:
        self._check_quota("egress_rules", options)
        return super().authorize_security_group_egress(*arguments, **options)

    def _list(self, prefix_list_id: str) -> ManagedPrefixList:
        if prefix_list_id not in self.managed_prefix_lists:
            raise EC2ClientError(
                "InvalidPrefixListID.NotFound", f"The prefix list ({prefix_list_id}) does not exist."
            )
        return self.managed_prefix_lists[prefix_list_id]

    def _resize(self, found: ManagedPrefixList, wanted: Any) -> None:
        _check_size(wanted)
        _check_entries([], _entries(found), int(wanted))
        had, found.max_entries = found.max_entries, wanted
        if full := [group for group, count in self._counts(found.id) if count > _RULES]:
            found.max_entries = had
            found.state = "modify-failed"
            found.state_message = (  # type: ignore[assignment]
                f"The following VPC Security Group resources do not have sufficient capacity [{', '.join(full)}]"
            )
        else:
            found.state = "modify-complete"

    def _check_quota(self, direction: str, rule: dict[str, Any]) -> None:
        group = self.get_security_group_by_name_or_id(rule["group_name_or_id"])
        lists = [each["PrefixListId"] for each in rule.get("prefix_list_ids") or []]
        count = sum(self._weight(each) for each in lists)
        if group and lists and self._count(getattr(group, direction)) + count > _RULES:
            raise RulesPerSecurityGroupLimitExceededError

    def _count(self, rules: list[Any]) -> int:
        return sum(self._weight(rule.prefix_list_id) if rule.prefix_list_id else 1 for rule in rules)

    def _weight(self, prefix_list_id: str) -> int:
        found = self._list(prefix_list_id)
        if found.max_entries is not None:
            return int(found.max_entries)
        name = found.prefix_list_name or ""
        return next((weight for part, weight in _WEIGHTS.items() if name.endswith(part)), 1)

    def _counts(self, prefix_list_id: str) -> Iterator[tuple[str, int]]:
        """The security groups that name a list, with the rules they have in that direction."""
        for groups in self.groups.values():
            for group in groups.values():
                for rules in (group.ingress_rules, group.egress_rules):
                    if any(rule.prefix_list_id == prefix_list_id for rule in rules):
                        yield group.id, self._count(rules)

    def _users(self, prefix_list_id: str) -> list[str]:
        return sorted({group for group, _ in self._counts(prefix_list_id)})


def _entries(found: ManagedPrefixList) -> Entries:
    return list(found.entries.get(found.version) or []) if found.version is not None else []


def _modify_entries(found: ManagedPrefixList, added: Entries, removed: Entries) -> None:
    gone, come = ({entry["Cidr"] for entry in entries} for entries in (removed, added))
    if both := gone & come:
        raise EC2ClientError(
            "InvalidParameterValue",
            f"Request cannot contain Cidr {min(both)} in both AddPrefixListEntries and RemovePrefixListEntries",
        )
    entries = [entry for entry in _entries(found) if entry["Cidr"] not in gone | come] + added
    _check_entries([*added, *removed], entries, int(found.max_entries or 0))
    found.version = (found.version or 0) + 1
    found.entries[found.version] = entries
    found.state = "modify-complete"


def _check_size(max_entries: Any) -> None:
    if not 1 <= int(max_entries or 0) <= _LARGEST:
        raise EC2ClientError("InvalidParameterValue", f"Must specify a max size between 1 and {_LARGEST}")


def _check_entries(sent: Entries, all_of_them: Entries, most: int) -> None:
    if len(sent) > _AT_ONCE:
        raise EC2ClientError(
            "InvalidParameterValue", f"The number of entries per request cannot exceed the limit ({_AT_ONCE})."
        )
    if len(all_of_them) > most:
        raise EC2ClientError(
            "PrefixListMaxEntriesExceeded", f"The prefix list can hold {most} entries, not {len(all_of_them)}."
        )
