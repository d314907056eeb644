// A core node: opens the log, reads the newest snapshot, starts the loop, the peers and the client port, and stops them
// in the reverse order.

import CoordinationCore
import Foundation
import LogStorage
package import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Protocol
import RaftCore
import Wire

package final class CoreNode: Sendable {
  package var clusterID: UInt64 { access.identity.clusterID }
  package var memberID: UInt64 { access.identity.nodeID.rawValue }
  package var incarnation: UInt64 { access.identity.incarnation }
  /// The port on which clients are served, whatever was asked for.
  package let clientPort: Int
  let access: CoreAccess
  private let loop: CoreLoop
  private let storage: LogStorage
  private let peers: PeerTransport
  private let servers: [WireServer]
  private let group: MultiThreadedEventLoopGroup

  /// What is there before the loop is.
  private struct Ground: Sendable {
    let origin: Origin
    let storage: LogStorage
    let restored: Restored
    let start: StartingState
  }

  /// Starts a node. It serves at once; `waitUntilReady` tells when it has a leader.
  /// - Parameter onEnd: called, at least once and from any thread, when the node must not go on: a damaged log, a disk
  ///   that failed, a node that was removed. The process should end.
  package static func start(
    _ configuration: NodeConfiguration, logger: Logger, onEnd: @escaping @Sendable (NodeError) -> Void
  ) async throws -> CoreNode {
    OpenFiles.raise()
    try makeDirectory(configuration.dataDirectory)
    let group = MultiThreadedEventLoopGroup(numberOfThreads: System.coreCount)
    do {
      if configuration.forcesNewCluster { try await onThread { try NewCluster.force(configuration, logger: logger) } }
      let security = try await onThread { try NodeSecurity(configuration, logger: logger) }
      let origin = try await Origin.determine(
        configuration, group: group, connector: security.peers.connector, logger: logger)
      let ground = try await onThread { try open(configuration, origin, logger: logger) }
      do {
        return try await CoreNode(
          configuration, ground, security: security, group: group, logger: logger, onEnd: onEnd)
      } catch {
        ground.storage.close()
        throw error
      }
    } catch {
      try? await group.shutdownGracefully()
      throw error
    }
  }

  private static func makeDirectory(_ directory: String) throws(NodeError) {
    do {
      try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    } catch {
      throw .storage("the data directory \(directory) cannot be made: \(error.localizedDescription)")
    }
  }

  /// Reading a log and a snapshot takes seconds where they are large, which no thread of the cooperative pool has.
  private static func onThread<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
    try await withCheckedThrowingContinuation { continuation in
      Thread { continuation.resume(with: Result { try body() }) }.start()
    }
  }

  private static func open(
    _ configuration: NodeConfiguration, _ origin: Origin, logger: Logger
  ) throws(NodeError) -> Ground {
    do {
      let opened = try LogStorage.open(directory: Origin.logDirectory(configuration), identity: origin.identity)
      do {
        var start = StartingState()
        if opened.recovered.snapshot != nil {
          guard let newest = opened.storage.snapshots.newest() else {
            throw NodeError.storage("the log begins behind a snapshot that is not there")
          }
          start.state = try SnapshotKeeper.state(of: newest, in: opened.storage.snapshots)
          start.description = newest
        }
        return Ground(origin: origin, storage: opened.storage, restored: opened.recovered, start: start)
      } catch {
        opened.storage.close()
        throw error
      }
    } catch let error as NodeError {
      throw error
    } catch {
      throw .storage("\(error)")
    }
  }

  private init(
    _ configuration: NodeConfiguration, _ ground: Ground, security: NodeSecurity,
    group: MultiThreadedEventLoopGroup, logger: Logger, onEnd: @escaping @Sendable (NodeError) -> Void
  ) async throws {
    self.group = group
    self.storage = ground.storage
    let identity = ground.origin.identity
    let issuer = try TokenIssuer(
      directory: configuration.dataDirectory, clusterID: identity.clusterID, incarnation: identity.incarnation)
    let watches = WatchHub(revision: ground.start.state.revision)
    let outbound = Outbound()
    let registry = PeerRegistry(
      identity: identity, membership: ground.start.description?.point.membership ?? ground.origin.founders,
      births: ground.origin.file.births(of: identity))
    let loop = CoreLoop(
      CoreLoop.Parts(
        configuration: configuration, registry: registry, storage: ground.storage, restored: ground.restored,
        start: ground.start, founders: ground.origin.founders, address: configuration.address,
        nodeRecord: issuer.record(
          of: identity.nodeID.rawValue, clientURL: configuration.clientURL, birth: ground.storage.birth),
        watches: watches, holds: HoldHub(), logger: logger, peers: outbound.peers,
        keepBirths: Self.birthKeeper(ground.origin.file, configuration.dataDirectory, logger), onEnd: onEnd))
    self.loop = loop
    try Self.checkRepairable(ground.restored, loop, logger)
    let inbox = loop.inbox
    peers = PeerTransport(
      registry: registry, birth: ground.storage.birth, address: configuration.address, group: group,
      security: security.peers, logger: logger,
      delivery: PeerTransport.Delivery(
        received: { inbox.append(.received($0, from: $1)) }, unreachable: { inbox.append(.unreachable($0)) },
        refused: { inbox.append(.refused($0)) }))
    outbound.transport = peers
    let access = CoreAccess(
      configuration: configuration, identity: identity, loop: loop, watches: watches, issuer: issuer)
    self.access = access
    servers = try await Self.serve(access, configuration, security, peers, group, logger)
    clientPort = servers.lazy.compactMap(\.localAddress.port).first ?? 0
    loop.start()
  }

  private static func serve(
    _ access: CoreAccess, _ configuration: NodeConfiguration, _ security: NodeSecurity, _ peers: PeerTransport,
    _ group: MultiThreadedEventLoopGroup, _ logger: Logger
  ) async throws -> [WireServer] {
    let listeners = try Listeners(
      configuration, access: access, security: security.clients, router: RPCRoutes(routes(access)))
    if configuration.listensForPeers {
      try await peers.start(at: listeners.peers, sharesPorts: configuration.sharesPorts)
    }
    do {
      return try await listeners.start(group: group, logger: logger)
    } catch {
      await peers.stop()
      throw error
    }
  }

  /// A lost entry can only come back from somebody who has it.
  private static func checkRepairable(_ restored: Restored, _ loop: CoreLoop, _ logger: Logger) throws(NodeError) {
    guard let damage = restored.damage else { return }
    let what =
      "the log is damaged: entries from \(damage.firstLost.rawValue) to \(damage.lastLost.rawValue) cannot be read"
    if loop.membership.voters == [loop.localID], !loop.membership.isJoint {
      throw .storage(
        "\(what), and no other member has them. Restore the data directory from a copy; look after the disk")
    }
    logger.error("\(what). This node does not vote until they came back from the other members")
  }

  /// Writes the births of peers' disks into the member file, off the loop's thread: a change is rare, and a late one does
  /// no harm.
  private static func birthKeeper(
    _ file: MemberFile, _ directory: String, _ logger: Logger
  ) -> @Sendable ([NodeID: UInt64]) -> Void {
    let queue = DispatchQueue(label: "portcullis.member-file")
    let kept = NIOLockedValueBox(file)
    return { births in
      queue.async {
        let next = kept.withLockedValue { file in
          file.set(births: births)
          return file
        }
        do throws(NodeError) {
          try next.write(in: directory)
        } catch {
          logger.warning("the births of peers' disks are not written down", metadata: ["cause": "\(error)"])
        }
      }
    }
  }

  private static func routes(_ core: CoreAccess) -> [String: RPCMethod] {
    let services = [
      KVService(core: core).routes, LeaseService(core: core).routes, LockService(core: core).routes,
      ElectionService(core: core).routes, AuthorityService(core: core).routes, ClusterService(core: core).routes,
      MaintenanceService(core: core).routes, HealthService(core: core).routes, ExactlyOnceService(core: core).routes,
      MillisecondLeases(core: core).routes,
      AuthService(core: core).routes,
      BackupService(core: core).routes, ListingService(core: core).routes, SessionService(core: core).routes,
      ElectionsService(core: core).routes, GatewayService(core: core).routes,
      [RPCPath.Watch.watch: .streaming { call in WatchStream(call, core: core) }],
    ]
    let all: [String: RPCMethod] = services.reduce(into: [:]) { all, some in
      all.merge(some) { _, _ in preconditionFailure("two services answer the same path") }
    }
    let leader = RequiredLeader(
      publication: core.publication, electionMilliseconds: core.configuration.electionMilliseconds)
    let catchingUp = CatchingUp(core: core)
    return core.statistics.counting(all.mapValues { leader.guarding(catchingUp.guarding($0)) })
  }

  /// Returns when the node has applied all that was acknowledged before it started, and its public key is in the state,
  /// so that tokens which it signs can be verified everywhere.
  package func waitUntilReady() async throws {
    while true {
      if access.isReady, await hasCaughtUp() { return }
      try await Task.sleep(for: .milliseconds(5))
    }
  }

  /// A linearizable read is answered only when everything before it was applied. The state that a node starts with may be
  /// that of a snapshot, with a long log behind it.
  private func hasCaughtUp() async -> Bool {
    if case .success = await linearizableSnapshot() { return true }
    return false
  }

  func linearizableSnapshot() async -> Result<Snapshot, ReadFailure> {
    await withCheckedContinuation { continuation in
      access.readLinearizably(on: group.next()) { continuation.resume(returning: $0) }
    }
  }

  /// The public keys of all nodes as a JWKS, from this node's newest state.
  package var jwks: String { access.jwks(access.publication.snapshot) }

  /// Stops in order: no new calls, answers to those in flight, then peers, log and threads.
  package func stop() async {
    await withDiscardingTaskGroup { group in
      for server in servers { group.addTask { await server.shutdown(grace: .milliseconds(500)) } }
    }
    await peers.stop()
    await withCheckedContinuation { continuation in
      let thread = Thread { [loop, storage, access] in
        access.passwords.stop()
        loop.stop()
        storage.close()
        continuation.resume()
      }
      thread.start()
    }
    try? await group.shutdownGracefully()
  }
}

/// Ties the knot between the loop and the transport, each of which is made with the other. `@unchecked Sendable`: set
/// once, before the loop's thread is started, and only read after that.
private final class Outbound: @unchecked Sendable {
  var transport: PeerTransport?

  var peers: CoreLoop.Peers {
    CoreLoop.Peers(
      send: { self.transport?.send($0, to: $1) }, follow: { self.transport?.follow($0) },
      dismiss: { self.transport?.dismiss($0) })
  }
}
