// Owns what was asked of a run and what it ran on, as the result repeats it.
//
// It must never hold a default: a result says what was used, whether asked for or not, so that it can be run again.

/// How operations are started.
package enum LoadShape: Sendable, Equatable, Codable {
  /// At intended times that do not depend on answers, as the users of a service come.
  case open(process: ArrivalProcess, ratePerSecond: Double, maxInFlight: Int)
  /// Each client starts its next operation when it has the answer to the one before. The load bends to the target: a
  /// stall costs one sample a client, however long it is, so tail latencies look better than users would see them.
  case closed(clients: Int)

  package var isOpen: Bool {
    switch self {
    case .open: true
    case .closed: false
    }
  }
}

package enum KeyOrder: String, Sendable, Codable, CaseIterable {
  case random
  case sequential
}

package struct LoadConfiguration: Sendable, Equatable, Codable {
  package var operation: OperationSetting
  package var shape: LoadShape
  package var connections: Int
  package var eventLoops: Int
  /// The length of the measured part that was asked for. Nil when only a number of operations was.
  package var durationNanoseconds: UInt64?
  /// The number of measured operations that was asked for. Nil when only a duration was.
  package var totalOperations: UInt64?
  package var callTimeoutNanoseconds: UInt64
  package var keyPrefix: String
  package var keySizeBytes: Int
  package var keyCount: UInt64
  package var keyOrder: KeyOrder
  package var valueSizeBytes: Int
  package var seed: UInt64

  package init(
    operation: OperationSetting, shape: LoadShape, connections: Int, eventLoops: Int, durationNanoseconds: UInt64?,
    totalOperations: UInt64?,
    callTimeoutNanoseconds: UInt64, keyPrefix: String, keySizeBytes: Int, keyCount: UInt64, keyOrder: KeyOrder,
    valueSizeBytes: Int, seed: UInt64
  ) {
    self.operation = operation
    self.shape = shape
    self.connections = connections
    self.eventLoops = eventLoops
    self.durationNanoseconds = durationNanoseconds
    self.totalOperations = totalOperations
    self.callTimeoutNanoseconds = callTimeoutNanoseconds
    self.keyPrefix = keyPrefix
    self.keySizeBytes = keySizeBytes
    self.keyCount = keyCount
    self.keyOrder = keyOrder
    self.valueSizeBytes = valueSizeBytes
    self.seed = seed
  }
}

/// The machine that the load was made on, which is the target's machine too when both share one. What could not be
/// found out is nil, never guessed.
package struct RunEnvironment: Sendable, Equatable, Codable {
  package var operatingSystem: String?
  package var kernel: String?
  package var architecture: String?
  package var processorModel: String?
  package var processorCount: Int
  package var memoryBytes: UInt64?
  /// The kernel's clock source. Anything but a hardware counter makes every time stamp a system call.
  package var clockSource: String?
  package var loadAverage: String?
  package var workingDirectory: String?
  package var fileSystem: FileSystemDescription?
  /// "release" or "debug": a debug build measures itself.
  package var buildConfiguration: String

  package struct FileSystemDescription: Sendable, Equatable, Codable {
    package var type: String
    package var source: String
    package var mountPoint: String
    package var mountOptions: String
    /// What the kernel takes the disk's cache for: "write back" or "write through".
    package var writeCache: String?

    package init(type: String, source: String, mountPoint: String, mountOptions: String, writeCache: String?) {
      self.type = type
      self.source = source
      self.mountPoint = mountPoint
      self.mountOptions = mountOptions
      self.writeCache = writeCache
    }
  }

  package init(processorCount: Int, buildConfiguration: String) {
    self.processorCount = processorCount
    self.buildConfiguration = buildConfiguration
  }
}
