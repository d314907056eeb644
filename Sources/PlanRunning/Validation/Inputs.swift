// Owns what is measured before anything is predicted, none of it on the runs that are predicted: the disk under each delay,
// the relay's round trip, and processor time from closed loads without delays.

import Conformance
import DiskProbe
import Foundation
import Glibc
import NIOCore
import NIOPosix
import Planning

enum Inputs {
  /// The disk as it is with so much added to each flush, measured by a process that has the same delay injected as the nodes.
  ///
  /// Other programs make one writer's flushes many times as long (a processor that they hold takes up the disk's answer late),
  /// and a node's under load not: of several attempts the calmest counts.
  static func disk(
    delayMilliseconds: Int, in directory: String, seconds: Double, attempts: Int, mostOfOthers: Double
  ) async throws -> [FlushSeries] {
    var best: (series: [FlushSeries], medianNanoseconds: Double)?
    for _ in 0..<attempts {
      let series = try await series(delayMilliseconds: delayMilliseconds, in: directory, seconds: seconds)
      let median = try DiskProfiles.model(of: series, named: directory).tight.value(at: 0.5)
      if median < best?.medianNanoseconds ?? .infinity { best = (series, median) }
      if (series.compactMap(\.shareOfOthers).max() ?? 0) <= mostOfOthers { break }
    }
    guard let best else { throw PlanError("the disk below \(directory) was not measured") }
    return best.series
  }

  private static func series(
    delayMilliseconds: Int, in directory: String, seconds: Double
  ) async throws -> [FlushSeries] {
    let executable = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    var environment: [String: String] = [:]
    if delayMilliseconds > 0 {
      environment = [
        "LD_PRELOAD": FaultControl.library(for: executable), "PORTCULLIS_FAULT_BELOW": directory,
        "PORTCULLIS_FAULT_FLUSH_DELAY_US": "\(delayMilliseconds * 1000)",
      ]
    }
    var series: [FlushSeries] = []
    for choice in [["--records", "1,64", "--interval", "0,2ms"], ["--records", "1", "--writers", "3"]] {
      let probe = try RunningProgram(
        ["fsync", directory, "--seconds", "\(seconds)", "--output", "json"] + choice, executable: executable,
        environment: environment, isOutOfReach: true)
      let code = await probe.exitCode()
      await probe.waitForEndOfOutput()
      guard code == 0 else { throw PlanError("the disk below \(directory) could not be measured: \(probe.errors)") }
      series += try FlushProfile(json: probe.output).series
    }
    return series
  }

  /// Half of the round trip through a relay of this delay, at the median; and processor time of passing one message on.
  static func network(delayMilliseconds: Int) async throws -> ValidationInputs.Network {
    guard delayMilliseconds > 0 else { return ValidationInputs.Network() }
    let relay = DelayRelay(delayMicroseconds: delayMilliseconds * 1000)
    let echo = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      .childChannelInitializer { $0.pipeline.addHandler(Echo()) }
      .bind(host: "127.0.0.1", port: 0).get()
    let port = try await relay.start(to: [echo.localAddress?.port ?? 0])[0]
    let count = min(300, 3000 / delayMilliseconds)
    let (samples, spent) = try await thread { try Pinging.ping(port: port, count: count) }
    try? await echo.close().get()
    await relay.stop()
    // Two passes of the relay, one echo and the pinging itself make about four like pieces of work.
    return ValidationInputs.Network(
      oneWayNanoseconds: samples.sorted()[samples.count / 2] / 2, relayNanoseconds: spent / Double(count) / 4)
  }

  /// Off the cooperative pool, for what blocks.
  private static func thread<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
      Thread.detachNewThread { continuation.resume(with: Result { try body() }) }
    }
  }

  private final class Echo: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer
    func channelRead(context: ChannelHandlerContext, data: NIOAny) { context.writeAndFlush(data, promise: nil) }
  }
}

private enum Pinging {
  static func ping(port: Int, count: Int) throws -> (samples: [Double], processorNanoseconds: Double) {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    let connected = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard connected == 0 else { throw PlanError("the relay on port \(port) cannot be reached") }
    var samples: [Double] = []
    let own = MachineUse.ownNanoseconds
    var bytes = [UInt8](repeating: 1, count: 400)
    for _ in 0..<count {
      let begin = now()
      guard write(descriptor, bytes, bytes.count) == bytes.count else { throw PlanError("the relay hung up") }
      var got = 0
      while got < 400 {
        let part = read(descriptor, &bytes, bytes.count)
        guard part > 0 else { throw PlanError("the relay hung up") }
        got += part
      }
      samples.append(now() - begin)
    }
    return (samples, MachineUse.ownNanoseconds - own)
  }

  private static func now() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
  }
}
