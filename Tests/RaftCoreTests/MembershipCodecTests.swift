// The bytes of a configuration, which come from a disk, a peer or an operator.

import RaftCore
import Testing

@Suite("Bytes of a membership")
struct MembershipCodecTests {
  private let membership = Membership(
    voters: [member(1), member(2), Member(id: NodeID(.max), address: [UInt8](repeating: 9, count: 300))],
    learners: [member(7)])

  private let changes: [MembershipChange] = [
    .addLearner(member(4)), .addVoter(Member(id: NodeID(5), address: [])), .promote(NodeID(1 << 40)),
    .remove(NodeID(0)), .replace(NodeID(1), with: NodeID(128)), .update(member(127)),
  ]

  @Test("what was written is read back, joint configurations too")
  func roundTrip() {
    #expect(Membership.decode(membership.encoded()) == membership)
    #expect(Membership.decode(Membership.nobody.encoded()) == .nobody)
    let record = MembershipRecord(membership: membership, context: [1, 2, 3])
    #expect(MembershipRecord.decode(record.encoded()) == record)
    for change in changes {
      let request = MembershipRequest(change: change, context: [0, 255])
      #expect(MembershipRequest.decode(request.encoded()) == request)
    }
    var cluster = Cluster(voters: 3)
    cluster.elect(1)
    let joint = cluster.step(1, change(.remove(NodeID(3)))).persists[0].entries[0].payload
    let read = MembershipRecord.decode(joint)
    #expect(read?.membership.isJoint == true)
    #expect(read?.encoded() == joint)
  }

  @Test("bytes that end early or go on are refused")
  func lengths() {
    let record = MembershipRecord(membership: membership, context: [1, 2, 3]).encoded()
    for count in 0..<record.count { #expect(MembershipRecord.decode(Array(record.prefix(count))) == nil) }
    #expect(MembershipRecord.decode(record + [0]) == nil)
    #expect(Membership.decode(membership.encoded() + [0]) == nil)
    for change in changes {
      let request = MembershipRequest(change: change, context: [5]).encoded()
      for count in 0..<request.count { #expect(MembershipRequest.decode(Array(request.prefix(count))) == nil) }
      #expect(MembershipRequest.decode(request + [0]) == nil)
    }
  }

  @Test("whatever is read is sound and is written again as the same bytes, whichever byte is changed")
  func changedBytes() {
    let original = MembershipRecord(membership: membership, context: [1]).encoded()
    for position in original.indices {
      for value in [0, 1, 2, 0x7F, 0x80, 0xFF] as [UInt8] {
        var bytes = original
        bytes[position] = value
        guard let read = MembershipRecord.decode(bytes) else { continue }
        #expect(read.encoded() == bytes)
        #expect(read.membership.members.allSatisfy { read.membership.contains($0.id) })
      }
    }
  }

  @Test(
    "lists that do not rise, contradict each other or are too long are refused",
    arguments: [
      [1, 2, 2, 1, 0, 0, 2, 1, 0, 2, 0],
      [1, 2, 1, 1, 0, 0, 1, 1, 0],
      [1, 1, 1, 0, 0, 2, 1, 0, 1, 0],
      [1, 1, 1, 0, 0, 2, 1, 0, 2, 0],
      [1, 2, 1, 2, 0, 0, 1, 1, 0],
      [1, 1, 1, 0, 1, 1, 1, 1, 0],
      [1, 0, 1, 1, 0, 1, 1, 0],
      [1, 0x81, 1],
      [1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F],
      [2, 0, 0, 0, 0],
      [1, 0x80, 0, 0, 0, 0],
      [],
    ] as [[UInt8]])
  func unsound(bytes: [UInt8]) {
    #expect(Membership.decode(bytes) == nil)
    #expect(Membership.decode([1, 1, 1, 0, 0, 1, 1, 0]) == Membership(voters: [NodeID(1)]), "the sound one is read")
  }

  @Test("no address and no context is longer than its limit")
  func limits() {
    func request(address: Int, context: Int) -> MembershipRequest? {
      let member = Member(id: NodeID(1), address: [UInt8](repeating: 0, count: address))
      let request = MembershipRequest(change: .update(member), context: [UInt8](repeating: 0, count: context))
      return MembershipRequest.decode(request.encoded())
    }
    #expect(request(address: Membership.maxAddressBytes, context: MembershipRecord.maxContextBytes) != nil)
    #expect(request(address: Membership.maxAddressBytes + 1, context: 0) == nil)
    #expect(request(address: 0, context: MembershipRecord.maxContextBytes + 1) == nil)
  }
}
