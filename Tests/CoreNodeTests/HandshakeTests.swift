// Who is let in: the first frame of a connection, and what a node knows of those that greet it.

import CoordinationCore
import CoreNode
import LogStorage
import NIOCore
import RaftCore
import Testing

@Suite("Handshake")
struct HandshakeTests {
  private static let identity = Identity(clusterID: 77, nodeID: NodeID(1), incarnation: 2)

  private static func members(_ ids: UInt64...) -> Membership { Membership(voters: ids.map { NodeID($0) }) }

  private static func hello(from: UInt64, birth: UInt64 = 5) -> Hello {
    Hello(clusterID: 77, incarnation: 2, from: NodeID(from), to: NodeID(1), birth: birth, address: [])
  }

  private static func registry(
    members: Membership = members(1, 2, 3), births: [NodeID: UInt64] = [:]
  ) -> PeerRegistry {
    PeerRegistry(identity: identity, membership: members, births: births)
  }

  private static func record(_ node: UInt64, birth: UInt64) -> NodeRecord {
    NodeRecord(node: node, keyID: "key \(node) \(birth)", publicKey: [], clientURL: "", birth: birth)
  }

  @Test("every kind of first frame comes back as it was sent")
  func roundTrip() throws {
    let address = MemberAddress(name: "a", peerURLs: ["http://h:1", "http://[::1]:2"])
    let hello = Hello(
      clusterID: 1, incarnation: 2, from: NodeID(3), to: NodeID(4), birth: 5, address: address.encoded())
    let answer = InquiryAnswer(clusterID: 1, incarnation: 2, membership: Self.members(1, 2))
    let refusal = PeerRefusal(clusterID: 1, incarnation: 2, to: NodeID(3), reason: .otherDisk, text: "wiped: ü")
    func sent(_ write: (inout ByteBuffer) -> Void) throws -> Opening {
      var buffer = ByteBuffer()
      write(&buffer)
      return try Opening.read(try #require(try PeerCodec.readFrame(from: &buffer)))
    }
    #expect(try sent { hello.write(into: &$0) } == .hello(hello))
    #expect(try sent { Inquiry().write(into: &$0) } == .inquiry)
    #expect(try sent { answer.write(into: &$0) } == .answer(answer))
    #expect(try sent { refusal.write(into: &$0) } == .refusal(refusal))
    #expect(MemberAddress(address.encoded()) == address)
  }

  @Test("a greeting of another cluster, another incarnation or for another node is refused")
  func identities() {
    let registry = Self.registry()
    var (cluster, incarnation, target) = (Self.hello(from: 2), Self.hello(from: 2), Self.hello(from: 2))
    cluster.clusterID = 78
    incarnation.incarnation = 1
    target.to = NodeID(3)
    #expect(registry.refusal(of: Self.hello(from: 2)) == nil)
    #expect(registry.refusal(of: cluster)?.reason == .otherCluster)
    #expect(registry.refusal(of: incarnation)?.reason == .otherIncarnation)
    #expect(registry.refusal(of: target)?.reason == .misdirected)
  }

  @Test("a node that the log does not know yet is let in, for it may be a newer leader")
  func unknownNode() {
    #expect(Self.registry().refusal(of: Self.hello(from: 9)) == nil)
  }

  @Test("a member with another disk than the one it registered is refused")
  func wipedDisk() {
    let registry = Self.registry()
    #expect(registry.registered([Self.record(2, birth: 5)]) == [NodeID(2): 5])
    #expect(registry.refusal(of: Self.hello(from: 2, birth: 5)) == nil)
    #expect(registry.refusal(of: Self.hello(from: 2, birth: 6))?.reason == .otherDisk)
    #expect(registry.registered([Self.record(2, birth: 5)]) == nil, "nothing new is nothing to write down")
  }

  @Test("births that were written down count before anything is applied")
  func keptBirths() {
    let registry = Self.registry(births: [NodeID(3): 4])
    #expect(registry.refusal(of: Self.hello(from: 3, birth: 5))?.reason == .otherDisk)
  }

  @Test("a node that was a member and is none any more is told that it was removed")
  func removed() {
    let registry = Self.registry()
    #expect(registry.applied(Self.members(1, 2)) == [NodeID(3)])
    #expect(registry.refusal(of: Self.hello(from: 3))?.reason == .removed)
    #expect(registry.refusal(of: Self.hello(from: 2)) == nil)
  }

  @Test("after a restart a removed node is known by its record")
  func removedBefore() {
    let registry = Self.registry()
    _ = registry.registered([Self.record(8, birth: 1)])
    #expect(registry.refusal(of: Self.hello(from: 8, birth: 1))?.reason == .removed)
  }

  @Test("a node that joined and has not applied a change of members yet takes no founder for removed")
  func foundersOfAJoiner() {
    let registry = Self.registry(members: .nobody)
    _ = registry.registered([Self.record(1, birth: 1), Self.record(2, birth: 2), Self.record(9, birth: 3)])
    #expect(registry.refusal(of: Self.hello(from: 1, birth: 1)) == nil)
    #expect(registry.applied(Self.members(1, 2, 3)) == [])
    #expect(registry.refusal(of: Self.hello(from: 2, birth: 2)) == nil)
    _ = registry.registered([Self.record(9, birth: 3)])
    #expect(registry.refusal(of: Self.hello(from: 9, birth: 3))?.reason == .removed)
  }

  @Test("peer URLs need http or https, a host and a port, and nothing else")
  func urls() {
    #expect(PeerEndpoint(url: "http://10.0.0.1:2380") == PeerEndpoint(host: "10.0.0.1", port: 2380))
    #expect(PeerEndpoint(url: "http://[::1]:2380/") == PeerEndpoint(host: "::1", port: 2380))
    #expect(PeerEndpoint(url: "https://h:1") == PeerEndpoint(host: "h", port: 1, usesTLS: true))
    for url in [
      "httpss://h:1", "h:1", "http://h", "http://:1", "http://h:0", "http://h:65536", "http://h:1/x", "http://a:b:1",
    ] {
      #expect(PeerEndpoint(url: url) == nil, "\(url)")
    }
  }

  @Test("an address survives no damage")
  func damagedAddress() {
    let bytes = MemberAddress(name: "a", peerURLs: ["http://h:1"]).encoded()
    for length in bytes.indices { #expect(MemberAddress(Array(bytes.prefix(length))) == nil) }
    #expect(MemberAddress(bytes + [0]) == nil)
  }
}
