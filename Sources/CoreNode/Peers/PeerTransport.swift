// Messages between nodes, over TCP, with TLS or without. Each node connects to each other one and sends on the connections that it made
// itself; what it accepts it only reads. Raft copes with lost messages, so a connection that breaks loses what was on
// its way and reports the peer unreachable; it never queues without bound.
//
// Links follow the configuration in force. Beyond it there is one to each node that has greeted this one and is no member
// by its log: a leader that is newer than this log, or the cluster that a new node waits to be added to, must be answered.

import Glibc
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import RaftCore
import Wire

final class PeerTransport: Sendable {
  struct Delivery: Sendable {
    /// Called on an event loop with messages in the order in which they were sent.
    let received: @Sendable ([Message], NodeID) -> Void
    let unreachable: @Sendable (NodeID) -> Void
    /// A peer refused this node's greeting, for a reason that does not go away.
    let refused: @Sendable (PeerRefusal) -> Void
  }

  private struct State {
    var links: [NodeID: PeerLink] = [:]
    var members: [Member] = []
    /// Nodes that greeted this one and are no members by its log.
    var guests: [NodeID: Member] = [:]
    /// Nodes that were members until now: the leader still has to tell them so.
    var leaving: Set<NodeID> = []
    var isStarted = false
    var listeners: [any Channel] = []
    var accepted: [ObjectIdentifier: Accepted] = [:]
    var nextAccepted: UInt64 = 0
  }

  private struct Accepted {
    let channel: any Channel
    /// In the order in which they came.
    let number: UInt64
    var peer: NodeID?
  }

  /// Connections that have not said who they are. Beyond it the oldest goes, so that strangers keep no peer out.
  private static let maxStrangers = 64
  /// Connections of one peer, which needs one, and has a second for the moment in which the first is not known to be dead.
  private static let maxOfOnePeer = 4
  /// Nodes that are no members by this log and are answered nevertheless.
  private static let maxGuests = 16

  /// How long a node that left can still be reached.
  private static let farewell = TimeAmount.seconds(10)

  private let registry: PeerRegistry
  private let birth: UInt64
  /// This node's own address, for the greeting.
  private let address: [UInt8]
  private let group: any EventLoopGroup
  private let security: PeerSecurity
  private let logger: Logger
  private let delivery: Delivery
  private let state = NIOLockedValueBox(State())

  init(
    registry: PeerRegistry, birth: UInt64, address: MemberAddress, group: any EventLoopGroup,
    security: PeerSecurity, logger: Logger, delivery: Delivery
  ) {
    self.registry = registry
    self.birth = birth
    self.address = address.encoded()
    self.group = group
    self.security = security
    self.logger = logger
    self.delivery = delivery
  }

  private var localID: NodeID { registry.identity.nodeID }

  // MARK: Starting and stopping

  /// Listens at every one of the places, and connects.
  /// - Parameter sharesPorts: lets other processes that ask for the same listen there too (SO_REUSEPORT).
  func start(at places: [PeerEndpoint], sharesPorts: Bool = false) async throws(NodeError) {
    let complaints = Complaints()
    for place in places { try await listen(at: place, sharesPort: sharesPorts, complaints) }
    let links = state.withLockedValue { state in
      state.isStarted = true
      return Array(state.links.values)
    }
    for link in links { link.start() }
  }

  private func listen(
    at place: PeerEndpoint, sharesPort: Bool, _ complaints: Complaints
  ) async throws(NodeError) {
    var bootstrap = ServerBootstrap(group: group)
    if sharesPort {
      bootstrap = bootstrap.serverChannelOption(.socketOption(.init(rawValue: SO_REUSEPORT)), value: 1)
    }
    bootstrap =
      bootstrap
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .serverChannelInitializer { [logger] channel in
        channel.eventLoop.makeCompletedFuture {
          // Strangers are pushed out one by one before that.
          try channel.pipeline.syncOperations.addHandler(ConnectionGate(limit: 1024, logger: logger) {})
        }
      }
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      .childChannelInitializer { [self] channel in
        accept(channel)
        guard let acceptor = security.acceptor else {
          return channel.eventLoop.makeCompletedFuture { try read(from: channel, complaints) }
        }
        return acceptor.secure(channel) { channel, _ in try self.read(from: channel, complaints) }
      }
    do {
      let channel = try await bootstrap.bind(host: place.host, port: place.port).get()
      state.withLockedValue { $0.listeners.append(channel) }
    } catch {
      throw .network(
        "cannot listen for peers on \(place.host):\(place.port): \(error). Is another node using the address (--listen-peer-urls)?"
      )
    }
  }

  func stop() async {
    let (links, listeners, accepted) = state.withLockedValue { state in
      defer { state.links = [:] }
      state.isStarted = false
      return (Array(state.links.values), state.listeners, state.accepted.values.map(\.channel))
    }
    for link in links { link.stop() }
    for listener in listeners { try? await listener.close() }
    for channel in accepted { try? await channel.close() }
  }

  private func read(from channel: any Channel, _ complaints: Complaints) throws {
    let reader = PeerReaderHandler(
      registry: registry, logger: logger, complaints: complaints,
      events: PeerReaderHandler.Events(greeted: { self.greeted($0, on: $1) }, received: delivery.received))
    try channel.pipeline.syncOperations.addHandler(reader)
  }

  private func accept(_ channel: any Channel) {
    let id = ObjectIdentifier(channel)
    let crowdedOut = state.withLockedValue { state in
      state.nextAccepted += 1
      state.accepted[id] = Accepted(channel: channel, number: state.nextAccepted)
      return oldest(beyond: Self.maxStrangers, with: nil, state)
    }
    crowdedOut?.close(promise: nil)
    channel.closeFuture.whenComplete { [self] _ in
      let stale = state.withLockedValue { state -> PeerLink? in
        guard let peer = state.accepted.removeValue(forKey: id)?.peer else { return nil }
        guard !state.accepted.values.contains(where: { $0.peer == peer }) else { return nil }
        return state.guests.removeValue(forKey: peer) == nil ? nil : state.links.removeValue(forKey: peer)
      }
      stale?.stop()
    }
  }

  /// The oldest connection of a peer, or of the strangers, if there are too many.
  private func oldest(beyond most: Int, with peer: NodeID?, _ state: State) -> (any Channel)? {
    let those = state.accepted.values.filter { $0.peer == peer }
    return those.count > most ? those.min { $0.number < $1.number }?.channel : nil
  }

  // MARK: Who is connected

  /// Follows the configuration in force: links to new members, after a while none to those that left, new ones where an
  /// address changed, and until they are connected the old ones. Any thread; the loop calls it.
  func follow(_ membership: Membership) {
    let left = state.withLockedValue { state -> [NodeID] in
      state.members = membership.members.filter { $0.id != localID }
      var (moved, left): ([NodeID: PeerLink], [NodeID]) = ([:], [])
      for (id, link) in state.links {
        guard let member = state.members.first(where: { $0.id == id }) else {
          if state.guests[id] == nil, state.leaving.insert(id).inserted { left.append(id) }
          continue
        }
        state.guests[id] = nil
        state.leaving.remove(id)
        guard endpoints(of: member) != link.endpoints else { continue }
        moved[id] = link
        state.links[id] = nil
      }
      for member in state.members where state.links[member.id] == nil {
        open(to: member, behind: moved[member.id], &state)
      }
      return left
    }
    guard !left.isEmpty else { return }
    group.next().scheduleTask(in: Self.farewell) { [weak self] in self?.close(left) }
  }

  private func close(_ left: [NodeID]) {
    let links = state.withLockedValue { state in
      left.compactMap { state.leaving.remove($0) == nil ? nil : state.links.removeValue(forKey: $0) }
    }
    for link in links { link.stop() }
  }

  /// Hangs up on a node that was removed, so that it greets again and is told.
  func dismiss(_ peers: [NodeID]) {
    let channels = state.withLockedValue { state in
      state.accepted.values.filter { $0.peer.map(peers.contains) ?? false }.map(\.channel)
    }
    for channel in channels { channel.close(promise: nil) }
  }

  private func greeted(_ hello: Hello, on channel: any Channel) {
    let crowdedOut = state.withLockedValue { state in
      state.accepted[ObjectIdentifier(channel)]?.peer = hello.from
      let crowdedOut = oldest(beyond: Self.maxOfOnePeer, with: hello.from, state)
      guard state.isStarted, state.links[hello.from] == nil, hello.from != localID,
        state.guests.count < Self.maxGuests
      else { return crowdedOut }
      let guest = Member(id: hello.from, address: hello.address)
      state.guests[hello.from] = guest
      open(to: guest, &state)
      return crowdedOut
    }
    crowdedOut?.close(promise: nil)
  }

  private func open(to member: Member, behind predecessor: PeerLink? = nil, _ state: inout State) {
    let hello = Hello(
      clusterID: registry.identity.clusterID, incarnation: registry.identity.incarnation, from: localID, to: member.id,
      birth: birth, address: address)
    let link = PeerLink(
      to: member, at: endpoints(of: member), hello: hello, eventLoop: group.next(),
      connector: security.connector, logger: logger,
      events: PeerLink.Events(
        lost: { [delivery] in delivery.unreachable(member.id) }, refused: { [delivery] in delivery.refused($0) }))
    link.predecessor = predecessor
    state.links[member.id] = link
    if state.isStarted { link.start() }
  }

  private func endpoints(of member: Member) -> [PeerEndpoint] {
    (member.peerAddress?.peerURLs ?? []).compactMap { PeerEndpoint(url: $0) }
  }

  // MARK: Sending

  /// Sends messages in order, if the peer can be reached. Any thread.
  func send(_ messages: [Message], to peer: NodeID) {
    state.withLockedValue { $0.links[peer] }?.send(messages)
  }
}
