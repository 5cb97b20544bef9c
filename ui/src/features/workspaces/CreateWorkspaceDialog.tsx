import { NameDialog } from '../../components/NameDialog'
import { useI18n } from '../../lib/i18n'
import { testIds } from '../../lib/testids'
import { useCreateWorkspace } from './create'

interface CreateWorkspaceDialogProps {
  open: boolean
  onOpenChange: (open: boolean) => void
  onCreated: (workspace: string) => void
}

export function CreateWorkspaceDialog({
  open,
  onOpenChange,
  onCreated,
}: CreateWorkspaceDialogProps) {
  const { t } = useI18n()
  const { create, describeError } = useCreateWorkspace()
  return (
    <NameDialog
      open={open}
      onOpenChange={onOpenChange}
      title={t('workspace.createTitle')}
      description={t('workspace.createHint')}
      label={t('workspace.name')}
      placeholder={t('workspace.namePlaceholder')}
      action={t('workspace.createSubmit')}
      onSubmit={async (name) => onCreated((await create(name)).id)}
      describeError={describeError}
      inputTestId={testIds.workspaceNameInput}
      submitTestId={testIds.workspaceCreateSubmit}
    />
  )
}
