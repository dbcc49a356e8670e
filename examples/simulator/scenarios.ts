import type { Scenario } from './scenario.js'
import { complexMultiBatch } from './scenarios/complex-multi-batch.js'
import { deviceReplacement } from './scenarios/device-replacement.js'
import { filesSync } from './scenarios/files-sync.js'
import { fkBatchRetry } from './scenarios/fk-batch-retry.js'
import { freshInstall } from './scenarios/fresh-install.js'
import { multiDeviceComplex } from './scenarios/multi-device-complex.js'
import { multiDeviceConflicts } from './scenarios/multi-device-conflicts.js'
import { multiDeviceSync } from './scenarios/multi-device-sync.js'
import { normalUsage } from './scenarios/normal-usage.js'
import { offlineOnline } from './scenarios/offline-online.js'
import { reinstall } from './scenarios/reinstall.js'
import { typedRows } from './scenarios/typed-rows.js'
import { userSwitch } from './scenarios/user-switch.js'

/** In the order in which they are played: the simple ones first. */
export const SCENARIOS: readonly Scenario[] = [
  freshInstall, normalUsage, reinstall, deviceReplacement, offlineOnline, userSwitch, multiDeviceSync, multiDeviceConflicts,
  multiDeviceComplex, filesSync, typedRows, fkBatchRetry, complexMultiBatch
]
