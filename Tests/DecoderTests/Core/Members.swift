// Memberships, as the log, snapshots and handshakes carry them.

import RaftCore

@Sendable func feedMembers(_ bytes: [UInt8]) {
  if let membership = Membership.decode(bytes) {
    precondition(Membership.decode(membership.encoded()) == membership, "a membership changes by encoding")
    for list in [membership.voters, membership.outgoing, membership.learners, membership.members.map(\.id)] {
      precondition(zip(list, list.dropFirst()).allSatisfy { $0 < $1 }, "a list of members is not sorted and distinct")
    }
  }
  if let record = MembershipRecord.decode(bytes) {
    precondition(MembershipRecord.decode(record.encoded()) == record, "a record changes by encoding")
  }
  if let request = MembershipRequest.decode(bytes) {
    precondition(MembershipRequest.decode(request.encoded()) == request, "a request changes by encoding")
  }
}
