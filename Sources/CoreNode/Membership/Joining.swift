// How a node that is to join a cluster learns who it is: it asks the peers that it was told of, and finds itself among
// the members by the URL under which it was added.

import Logging
import NIOCore
import NIOPosix
import RaftCore
import Wire

enum Joining {
  /// How long to go on asking. A peer that was asked may lack the entry by which this node was added.
  static let patience = Duration.seconds(10)

  struct Found: Sendable {
    let clusterID: UInt64
    let incarnation: UInt64
    let localID: NodeID
  }

  /// - Throws: `NodeError.configuration` that says whether nobody answered or nobody knows this node.
  static func inquire(
    _ configuration: NodeConfiguration, group: any EventLoopGroup, connector: TLSConnector?, logger: Logger
  ) async throws -> Found {
    guard let own = configuration.peers.first(where: { $0.name == configuration.name }) else {
      throw NodeError.configuration("this node is \(configuration.name), which the initial cluster does not name")
    }
    let others = configuration.peers.filter { $0.name != own.name }
    guard !others.isEmpty else {
      throw NodeError.configuration(
        "to join a cluster, the initial cluster must name at least one member beside this one")
    }
    let end = ContinuousClock.now + patience
    var answers: [String] = []
    repeat {
      answers = []
      for peer in others {
        for endpoint in peer.endpoints {
          do {
            let answer = try await ask(endpoint, on: group.next(), connector)
            if let found = found(own, in: answer) { return found }
            answers.append("\(endpoint.url) does not know \(own.url)")
          } catch {
            logger.info(
              "a peer did not answer an inquiry", metadata: ["peer": "\(endpoint.url)", "cause": "\(error)"])
            answers.append("\(endpoint.url) did not answer\(TLSError(of: error).map { " (\($0))" } ?? "")")
          }
        }
      }
      try await Task.sleep(for: .milliseconds(200))
    } while ContinuousClock.now < end
    throw NodeError.configuration(
      "no member of the cluster knows this node: \(answers.joined(separator: ", ")). Add it first (portcullis member add"
        + " \(own.url)), then start it with --initial-cluster-state existing and the members' URLs.")
  }

  private static func found(_ own: Peer, in answer: InquiryAnswer) -> Found? {
    let member = answer.membership.members.first { member in
      (member.peerAddress?.peerURLs ?? []).contains { url in own.endpoints.contains { $0 == PeerEndpoint(url: url) } }
    }
    return member.map {
      Found(clusterID: answer.clusterID, incarnation: answer.incarnation, localID: $0.id)
    }
  }

  private static func ask(
    _ endpoint: PeerEndpoint, on eventLoop: any EventLoop, _ connector: TLSConnector?
  ) async throws -> InquiryAnswer {
    let promise = eventLoop.makePromise(of: InquiryAnswer.self)
    let channel: any Channel
    do {
      channel = try await ClientBootstrap(group: eventLoop)
        .connectTimeout(.seconds(1))
        .channelInitializer { channel in
          PeerSecurity.prepare(channel, for: endpoint, connector) {
            let reader = OpeningReader(failed: { promise.fail($0) }) { opening in
              if case .answer(let answer) = opening { promise.succeed(answer) }
            }
            try $0.pipeline.syncOperations.addHandler(reader)
          }
        }
        .connect(host: endpoint.host, port: endpoint.port)
        .flatMap { PeerSecurity.secured($0, connector) }
        .get()
    } catch {
      promise.fail(error)
      throw error
    }
    channel.closeFuture.whenComplete { _ in
      promise.fail(NodeError.network("the peer hung up; does it speak another version of the peer protocol?"))
    }
    eventLoop.scheduleTask(in: .seconds(2)) { channel.close(promise: nil) }
    var buffer = channel.allocator.buffer(capacity: 32)
    Inquiry().write(into: &buffer)
    channel.writeAndFlush(buffer, promise: nil)
    return try await promise.futureResult.get()
  }
}
