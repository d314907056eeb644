// What the peers' event loops must know of the cluster to answer a greeting: who is a member by what this node has
// applied, who was removed, and with which disk each node has voted.
//
// The births are kept in the data directory as well. A node that has only just started has applied nothing, and would
// otherwise welcome a wiped disk in the very election that the disk's lost vote could decide.

package import CoordinationCore
package import LogStorage
import NIOConcurrencyHelpers
package import RaftCore

package final class PeerRegistry: Sendable {
  private struct State {
    var membership: Membership
    var births: [NodeID: UInt64]
    var removed: Set<NodeID> = []
  }

  package let identity: Identity
  private let state: NIOLockedValueBox<State>

  package init(identity: Identity, membership: Membership, births: [NodeID: UInt64]) {
    self.identity = identity
    state = NIOLockedValueBox(State(membership: membership, births: births))
  }

  /// Takes note of the configuration that this node has applied, and of those that were members and are no longer.
  /// - Returns: who was removed now.
  package func applied(_ membership: Membership) -> [NodeID] {
    state.withLockedValue { state in
      let gone = state.membership.members.map(\.id).filter { !membership.contains($0) }
      state.membership = membership
      state.removed.formUnion(gone)
      return gone
    }
  }

  /// Takes note of what nodes have said of themselves. A record of a node that is no member is of one that was: it can
  /// only have been applied behind the entry that added the node, unless the node was a founder. A node that joined and
  /// replays the log from its beginning does not know the founders before the first change of members, and a member that
  /// it took for a removed one would end itself on its word.
  /// - Returns: every birth that is known now, if one is new.
  package func registered(_ records: [NodeRecord]) -> [NodeID: UInt64]? {
    state.withLockedValue { state in
      var isNew = false
      let knowsMembers = state.membership != .nobody
      for record in records {
        let node = NodeID(record.node)
        if record.isRemoved || (knowsMembers && !state.membership.contains(node)) { state.removed.insert(node) }
        guard record.birth != 0, state.births[node] != record.birth else { continue }
        state.births[node] = record.birth
        isNew = true
      }
      return isNew ? state.births : nil
    }
  }

  package var answer: InquiryAnswer {
    let membership = state.withLockedValue { $0.membership }
    return InquiryAnswer(clusterID: identity.clusterID, incarnation: identity.incarnation, membership: membership)
  }

  /// Why a node that greets is not to be talked to, or nil.
  package func refusal(of hello: Hello) -> PeerRefusal? {
    let seen = { (id: UInt64) in String(id, radix: 16) }
    let (birth, isRemoved) = state.withLockedValue { ($0.births[hello.from], $0.removed.contains(hello.from)) }
    let reason: PeerRefusal.Reason
    let text: String
    if hello.clusterID != identity.clusterID {
      reason = .otherCluster
      text =
        "cluster \(seen(hello.clusterID)) talks to cluster \(seen(identity.clusterID)): compare the initial clusters"
    } else if hello.incarnation != identity.incarnation {
      reason = .otherIncarnation
      text = "incarnation \(hello.incarnation) of the cluster talks to incarnation \(identity.incarnation)"
    } else if hello.to != identity.nodeID {
      reason = .misdirected
      text = "a message for \(seen(hello.to.rawValue)) reached \(seen(identity.nodeID.rawValue))"
    } else if isRemoved {
      reason = .removed
      text = "member \(seen(hello.from.rawValue)) was removed from cluster \(seen(identity.clusterID))"
    } else if let birth, birth != hello.birth {
      reason = .otherDisk
      text = "member \(seen(hello.from.rawValue)) is not on the disk with which it voted: its disk was wiped"
    } else {
      return nil
    }
    return PeerRefusal(
      clusterID: identity.clusterID, incarnation: identity.incarnation, to: hello.from, reason: reason, text: text)
  }
}
