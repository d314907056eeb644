// What the services need of a node: a way to propose, a way to read, and the facts for headers and tokens.

import CoordinationCore
import LogStorage
import Logging
import NIOConcurrencyHelpers
import NIOCore
import Protocol
import RaftCore
import Wire

final class CoreAccess: Sendable {
  let configuration: NodeConfiguration
  let identity: Identity
  let publication: Publication
  let watches: WatchHub
  let statistics: NodeStatistics
  let holds: HoldHub
  let issuer: TokenIssuer
  let identification: Identification
  let passwords: PasswordKeeper
  let logger: Logger
  /// States that are being sent to callers.
  let heldStates = StateHolds()
  /// What this node says of itself.
  let record: NodeRecord
  private let inbox: Inbox<CoreLoop.Work>
  private let nextRequest: NIOLockedValueBox<UInt64>
  /// Tokens by which writes are guarded, once their signature was checked.
  let fences = FenceReading()
  /// Gateways that protect scopes through this node.
  let gateways = ConnectedGateways()

  init(
    configuration: NodeConfiguration, identity: Identity, loop: CoreLoop, watches: WatchHub, issuer: TokenIssuer
  ) {
    self.configuration = configuration
    self.identity = identity
    self.publication = loop.publication
    self.watches = watches
    self.statistics = loop.statistics
    self.holds = loop.parts.holds
    self.issuer = issuer
    self.identification = Identification(configuration.auth)
    self.passwords = PasswordKeeper(cost: configuration.auth.passwordCost)
    self.logger = loop.parts.logger
    self.record = loop.parts.nodeRecord
    self.inbox = loop.inbox
    // Numbers of an earlier run may still be in the log: they must not find a caller of this one.
    self.nextRequest = NIOLockedValueBox(UInt64.random(in: 1...(1 << 62)))
  }

  private func newRequest() -> UInt64 {
    nextRequest.withLockedValue { next in
      next += 1
      return next
    }
  }

  /// Proposes a command; `body` runs on `eventLoop` when it was applied here, or refused, or took too long.
  /// - Parameters:
  ///   - name: under which it is carried out once, if the caller asked for that.
  ///   - caller: whose request it is, where authentication is on: it is judged by that when it is applied.
  ///   - fence: the grant that must be current when it is applied.
  /// - Returns: the request's number, by which a waiting acquire can be cancelled.
  @discardableResult
  func submit(
    _ command: Command, named name: ClientSequence? = nil, by caller: Caller? = nil, fence: GrantFence? = nil,
    on eventLoop: any EventLoop, _ body: @escaping @Sendable (Answer) -> Void
  ) -> UInt64 {
    // One with a name may be the retry of one that was carried out when there was room: the log knows.
    guard name != nil || configuration.quota.admits(command, storeBytes: publication.storeBytes) else {
      publication.noteQuotaRefusal()
      eventLoop.execute { body(.refused(.storageFull)) }
      return 0
    }
    let id = newRequest()
    let envelope = Envelope(
      origin: identity.nodeID.rawValue, request: id, name: name, caller: caller, fence: fence, command: command)
    let payload = envelope.encoded()
    if payload.count > configuration.limits.maxRequestBytes {
      eventLoop.execute { body(.tooLarge) }
    } else {
      inbox.append(.command(id: id, payload: payload, Completion(eventLoop: eventLoop, body: body)))
    }
    return id
  }

  /// Proposes what the node has to do of its own accord. Nobody hears of the outcome, and it may get no place in the log.
  func propose(_ command: Command) { inbox.append(.own(command)) }

  /// Proposes a change of members; `body` is told when the whole of it was applied here.
  func change(
    _ change: MembershipChange, on eventLoop: any EventLoop, _ body: @escaping @Sendable (Answer) -> Void
  ) {
    let id = newRequest()
    let context = ChangeContext(origin: identity.nodeID, request: id).bytes
    let payload = MembershipRequest(change: change, context: context).encoded()
    inbox.append(.change(id: id, payload: payload, Completion(eventLoop: eventLoop, body: body)))
  }

  /// Hands leadership over; only the leader can. `body` is told when the target leads.
  func transferLeadership(
    to target: NodeID, on eventLoop: any EventLoop, _ body: @escaping @Sendable (Answer) -> Void
  ) {
    inbox.append(.transfer(to: target, Completion(eventLoop: eventLoop, body: body)))
  }

  func cancelWait(_ request: UInt64, _ end: WaitEnd) { inbox.append(.cancelWait(request: request, end)) }

  /// Gives a snapshot that shows everything acknowledged before the call.
  func readLinearizably(
    on eventLoop: any EventLoop, _ body: @escaping @Sendable (Result<Snapshot, ReadFailure>) -> Void
  ) {
    let snapshot = publication.snapshot
    if snapshot.isAuthoritative {
      body(.success(snapshot))
    } else {
      inbox.append(.read(ReadCompletion(eventLoop: eventLoop, body: body)))
    }
  }

  /// Whether the node can serve: it knows a leader, and tokens that it signs can be verified from the state.
  var isReady: Bool {
    let snapshot = publication.snapshot
    return snapshot.leader != nil && snapshot.state.nodes.contains(record)
  }

  /// Every alarm that is up: those of the state, and those that follow from this node's disk.
  func alarms(in snapshot: Snapshot) -> [Alarm] {
    let (gauges, own) = (publication.gauges, identity.nodeID.rawValue)
    var alarms = Set(snapshot.state.alarms)
    if !gauges.isWritable { alarms.insert(Alarm(.noSpace, member: own)) }
    if gauges.isImpaired { alarms.insert(Alarm(.corrupt, member: own)) }
    return alarms.sorted()
  }

  /// The header of a write's answer names the revision that the write made, or met if it changed nothing, and not that of
  /// others which were applied in the same turn. Clients take it for the revision of what they wrote: etcd's own mutex
  /// waits for everybody below it, and Kubernetes gives it to the object as its version.
  func header(revision: Revision, term: Term) -> Etcdserverpb_ResponseHeader {
    var header = Etcdserverpb_ResponseHeader()
    header.clusterID = identity.clusterID
    header.memberID = identity.nodeID.rawValue
    header.revision = revision
    header.raftTerm = term.rawValue
    return header
  }

  func header(_ snapshot: Snapshot) -> Etcdserverpb_ResponseHeader {
    header(revision: snapshot.state.revision, term: snapshot.term)
  }
}
