// Tests of what is refused of each operation before anything is opened.

import Measurement
import Testing
import Workloads

@Suite struct OperationChecksTests {
  private static let impossible: [(String, OperationSetting, LoadShape)] = [
    ("skew", .compareAndSwap(zipfExponent: .nan), .closed(clients: 1)),
    ("from 0 (all keys alike)", .compareAndSwap(zipfExponent: 11), .closed(clients: 1)),
    ("closed loop", .lock(names: 1, holdNanoseconds: nil), .open(process: .poisson, ratePerSecond: 1, maxInFlight: 1)),
    ("held for 10.0 seconds or longer", .lock(names: 1, holdNanoseconds: 10_000_000_000), .closed(clients: 4)),
    ("0 keys in a list", .list(limit: 0), .closed(clients: 4)),
    ("would leave some alone", .lock(names: 5, holdNanoseconds: 0), .closed(clients: 4)),
    ("0 leases", .renew(leases: 0, timeToLiveSeconds: 60), .closed(clients: 1)),
    (
      "come to their turn after 1000 s", .renew(leases: 10_000, timeToLiveSeconds: 30),
      .open(process: .poisson, ratePerSecond: 10, maxInFlight: 9)
    ),
    ("0 watchers", .watch(watchers: 0), .closed(clients: 1)),
    ("needs the gateway's database", .write(database: "d", hasToken: true, staleShare: 0), .closed(clients: 1)),
    ("without operations", .mix([]), .closed(clients: 1)),
    ("weight above 0", .mix([MixPart(operation: .put, weight: 0)]), .closed(clients: 1)),
    (
      "lock cannot be part of a mix", .mix([MixPart(operation: .lock(names: 1, holdNanoseconds: nil), weight: 1)]),
      .closed(clients: 1)
    ),
  ]

  @Test("an operation that cannot work is refused, and the refusal says what would do", arguments: impossible)
  func refused(words: String, operation: OperationSetting, shape: LoadShape) async {
    var options = LoadOptions()
    (options.operation, options.shape) = (operation, shape)
    let error = await refusal(of: options)
    #expect(error?.code == .badOptions)
    #expect(error?.message.contains(words) == true, "\(error?.message ?? "nothing")")
  }

  @Test("stale writes need tokens, and a share is a share", arguments: [(true, 1.5), (true, -0.1), (false, 0.5)])
  func writes(hasToken: Bool, share: Double) async {
    var options = LoadOptions()
    options.operation = .write(database: "d", hasToken: hasToken, staleShare: share)
    options.write = WriteTarget(core: hasToken ? ["127.0.0.1:1"] : nil, database: "d", scope: "d")
    #expect(await refusal(of: options)?.code == .badOptions)
  }
}
