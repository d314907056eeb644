// Owns the memory of what happened last, so that a violation can be read as a story.
// Must never: turn anything into text before it is asked for. Almost no run is ever read.
// Invariant: at most `capacity` happenings are kept, the newest ones.

import RaftCore

struct Trace {
  enum Happening {
    case stepped(node: Int, inputs: [Input])
    case leadership(node: Int, Leadership)
    case membership(node: Int, Membership)
    case committed(node: Int, RaftCore.Index)
    case started(node: Int, Restored)
    case fault(FaultKind, nodes: [Int])
    case healed(String)
    case note(String)
  }

  private static let capacity = 96
  private var ring: [(time: UInt64, happening: Happening)] = []
  private var next = 0
  /// Told every line as it happens, when somebody reads along.
  var reader: ((String) -> Void)?

  mutating func record(_ happening: @autoclosure () -> Happening, at time: UInt64) {
    let happening = happening()
    if let reader { reader(Self.line(time, happening)) }
    if ring.count < Self.capacity {
      ring.append((time, happening))
    } else {
      ring[next] = (time, happening)
      next = (next + 1) % Self.capacity
    }
  }

  func lines() -> [String] {
    (ring[next...] + ring[..<next]).map { Self.line($0.time, $0.happening) }
  }

  private static func line(_ time: UInt64, _ happening: Happening) -> String {
    let digits = String(time)
    return String(repeating: " ", count: max(0, 10 - digits.count)) + digits + " us: " + text(of: happening)
  }

  private static func text(of happening: Happening) -> String {
    switch happening {
    case .stepped(let node, let inputs): return "node \(node + 1) took \(inputs.map(text(of:)).joined(separator: "; "))"
    case .leadership(let node, let leadership):
      return "node \(node + 1) is \(leadership.role) in \(leadership.term), led by "
        + (leadership.leader?.description ?? "nobody")
    case .membership(let node, let membership):
      return "node \(node + 1) has voters \(list(membership.voters)), leaving \(list(membership.outgoing)), learners "
        + list(membership.learners)
    case .committed(let node, let index): return "node \(node + 1) committed through \(index)"
    case .started(let node, let restored):
      let damage = restored.damage.map { ", damaged from \($0.firstLost) through \($0.lastLost)" } ?? ""
      let snapshot = restored.snapshot.map { ", a snapshot at \($0.index)" } ?? ""
      return "node \(node + 1) started in \(restored.hardState.term) with \(restored.firstIndex) through "
        + "\(restored.lastIndex)\(snapshot)\(damage)"
    case .fault(let kind, let nodes): return "\(kind) at \(nodes.map { "node \($0 + 1)" }.joined(separator: ", "))"
    case .healed(let what): return "healed: \(what)"
    case .note(let note): return note
    }
  }

  private static func list(_ nodes: [NodeID]) -> String {
    "{" + nodes.map { String($0.rawValue) }.joined(separator: " ") + "}"
  }

  private static func text(of input: Input) -> String {
    switch input {
    case .tick: "a tick"
    case .received(let message, let sender): "from \(sender): \(text(of: message))"
    case .propose(let proposals): "proposals \(proposals.map { String($0.id) }.joined(separator: " "))"
    case .persisted(let sequence): "write \(sequence) is durable"
    case .readIndex(let id): "read \(id)"
    case .fetched(let request, let entries): "\(entries.count) fetched entries from \(request.first)"
    case .unreachable(let peer): "\(peer) is unreachable"
    case .transferLeadership(let target): "hand over to \(target)"
    case .applied(let index): "applied through \(index)"
    case .snapshotTaken(let point): "a snapshot was taken at \(point.index)"
    case .snapshotRead(let read, let chunk): "\(chunk?.bytes.count ?? 0) bytes of a snapshot for \(read.peer)"
    case .snapshotStaged(_, let through): "staged through byte \(through)"
    case .snapshotReady(let description): "the snapshot at \(description.point.index) is ready"
    case .snapshotRejected(let description): "the snapshot at \(description.point.index) was rejected"
    case .storage(let isWritable): isWritable ? "the disk has room" : "the disk is full"
    }
  }

  private static func text(of message: Message) -> String {
    switch message {
    case .appendEntries(let append):
      "append \(append.entries.count) entries after \(append.previousIndex) of \(append.previousTerm) in "
        + "\(append.term), commit \(append.commit.rawValue)"
    case .propose(let propose): "\(propose.proposals.count) forwarded proposals in \(propose.term)"
    case .installSnapshot(let install):
      "snapshot at \(install.chunk.description.point.index), \(install.chunk.bytes.count) bytes from "
        + "\(install.chunk.offset) of \(install.chunk.description.totalBytes), in \(install.term)"
    default: "\(message)"
    }
  }
}
