// The identities of a cluster that is being founded. Cluster and member ids are digests of what the members were started
// with, so nodes that were given different lists find out in their first handshake.

package import RaftCore

package struct ClusterMap: Sendable {
  package struct Member: Sendable, Equatable {
    package let id: NodeID
    package let peer: Peer
  }

  package let clusterID: UInt64
  package let members: [Member]
  package let localID: NodeID

  package init(_ configuration: NodeConfiguration, token: String) throws(NodeError) {
    var members: [Member] = []
    for peer in configuration.peers {
      let id = NodeID(Digest.of(peer.urls.sorted() + [token]))
      let isListed = { (other: Member) in
        other.peer.name == peer.name || other.peer.endpoints.contains(where: peer.endpoints.contains)
      }
      if members.contains(where: isListed) || Set(peer.urls).count < peer.urls.count {
        throw .configuration("member \(peer.name) (\(peer.url)) is listed twice in the initial cluster")
      }
      members.append(Member(id: id, peer: peer))
    }
    guard let local = members.first(where: { $0.peer.name == configuration.name }) else {
      let names = configuration.peers.map(\.name).joined(separator: ", ")
      throw .configuration("this node is \(configuration.name), but the initial cluster names only: \(names)")
    }
    self.members = members.sorted { $0.id < $1.id }
    self.localID = local.id
    self.clusterID = Digest.of(self.members.map { String($0.id.rawValue) } + [token])
  }

  var founders: [RaftCore.Member] {
    members.map { member in
      let address = MemberAddress(name: member.peer.name, peerURLs: member.peer.urls)
      return RaftCore.Member(id: member.id, address: address.encoded())
    }
  }
}
