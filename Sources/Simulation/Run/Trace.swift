// Owns the memory of what happened last, so that a violation can be read as a story.
// Must never: turn anything into text before it is asked for. Almost no run is ever read.
// Invariant: at most `capacity` happenings are kept, the newest ones.

import RaftCore

struct Trace {
  enum Happening {
    case stepped(node: Int, inputs: [Input])
    case leadership(node: Int, Leadership)
    case committed(node: Int, RaftCore.Index)
    case started(node: Int)
    case fault(FaultKind, nodes: [Int])
    case healed(String)
  }

  private static let capacity = 64
  private var ring: [(time: UInt64, happening: Happening)] = []
  private var next = 0

  mutating func record(_ happening: Happening, at time: UInt64) {
    if ring.count < Self.capacity {
      ring.append((time, happening))
    } else {
      ring[next] = (time, happening)
      next = (next + 1) % Self.capacity
    }
  }

  func lines() -> [String] {
    (ring[next...] + ring[..<next]).map { "\($0.time) us: \(Self.text(of: $0.happening))" }
  }

  private static func text(of happening: Happening) -> String {
    switch happening {
    case .stepped(let node, let inputs): "node \(node + 1) took \(inputs.map(text(of:)).joined(separator: "; "))"
    case .leadership(let node, let leadership):
      "node \(node + 1) is \(leadership.role) in \(leadership.term), led by "
        + (leadership.leader?.description ?? "nobody")
    case .committed(let node, let index): "node \(node + 1) committed through \(index)"
    case .started(let node): "node \(node + 1) started"
    case .fault(let kind, let nodes): "\(kind.rawValue) at \(nodes.map { "node \($0 + 1)" }.joined(separator: ", "))"
    case .healed(let what): "healed: \(what)"
    }
  }

  private static func text(of input: Input) -> String {
    switch input {
    case .tick: "a tick"
    case .received(let message, let sender): "from \(sender): \(text(of: message))"
    case .propose(let proposals): "\(proposals.count) proposals"
    case .persisted(let sequence): "write \(sequence) is durable"
    case .readIndex(let id): "read \(id)"
    case .fetched(let request, let entries): "\(entries.count) fetched entries from \(request.first)"
    case .unreachable(let peer): "\(peer) is unreachable"
    case .transferLeadership(let target): "hand over to \(target)"
    case .applied(let index): "applied through \(index)"
    default: "\(input)"
    }
  }

  private static func text(of message: Message) -> String {
    switch message {
    case .appendEntries(let append):
      "append \(append.entries.count) entries after \(append.previousIndex) of \(append.previousTerm) in "
        + "\(append.term), commit \(append.commit.rawValue)"
    case .propose(let propose): "\(propose.proposals.count) forwarded proposals in \(propose.term)"
    default: "\(message)"
    }
  }
}
