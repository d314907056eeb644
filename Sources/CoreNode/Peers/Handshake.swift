// What two nodes tell each other before anything else: who they are and to which cluster they belong. A node that was
// started with another member list, or on another cluster's data, finds out here and not by corrupting a log.

import NIOCore
import RaftCore

struct Hello: Sendable, Equatable {
  static let magic: UInt64 = 0x7063_756c_6c69_7331  // "pcullis1"

  let clusterID: UInt64
  let incarnation: UInt64
  let from: NodeID
  let to: NodeID

  func write(into buffer: inout ByteBuffer) {
    PeerCodec.writeFrame(into: &buffer) { buffer in
      buffer.writeMultipleIntegers(
        Self.magic, PeerCodec.version, clusterID, incarnation, from.rawValue, to.rawValue, endianness: .little)
    }
  }

  static func read(_ body: ByteBuffer) throws(PeerCodecError) -> Hello {
    var body = body
    guard
      let (magic, version, clusterID, incarnation, from, to) = body.readMultipleIntegers(
        endianness: .little, as: (UInt64, UInt16, UInt64, UInt64, UInt64, UInt64).self),
      magic == Self.magic
    else { throw .damaged("this is not a peer of Portcullis; is a client connecting to the peer port?") }
    guard version == PeerCodec.version else {
      throw .damaged("the peer speaks version \(version) of the peer protocol, this node \(PeerCodec.version)")
    }
    return Hello(clusterID: clusterID, incarnation: incarnation, from: NodeID(from), to: NodeID(to))
  }

  /// Why a node that expects to be `local` must not talk to the sender, or nil.
  func problem(for cluster: ClusterMap, incarnation: UInt64) -> String? {
    let seen = { (id: UInt64) in String(id, radix: 16) }
    if clusterID != cluster.clusterID {
      return "cluster \(seen(clusterID)) talks to cluster \(seen(cluster.clusterID)): compare the initial clusters"
    }
    if self.incarnation != incarnation {
      return "incarnation \(self.incarnation) of the cluster talks to incarnation \(incarnation)"
    }
    if to != cluster.localID { return "a message for \(seen(to.rawValue)) reached \(seen(cluster.localID.rawValue))" }
    if cluster[from] == nil { return "\(seen(from.rawValue)) is not a member of this cluster" }
    return nil
  }
}
